//! Capacity units: what a request consumes, by DynamoDB's rules.
//!
//! Reads are counted in *half* units so that an eventual read stays a whole number. All rounding
//! happens here: one write unit per begun KB, one read unit per begun 4 KB, never less than one.

/// What one request consumed of one partition's throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionUse {
    /// The table, by the order of creation.
    pub table: usize,
    /// The index of that table, by its position in the schema; none for the table itself.
    pub index: Option<usize>,
    /// The hash of the hash value; it decides the partition.
    pub hash: u64,
    /// Read units in halves.
    pub read_half_units: u64,
    /// Write units.
    pub write_units: u64,
}

/// What one request consumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Read units in halves, as billed.
    pub read_half_units: u64,
    /// Write units, as billed.
    pub write_units: u64,
    /// Bytes of keys, items and values in the request (names of tables and syntax left out).
    pub bytes_in: u64,
    /// Bytes of the items in the answer.
    pub bytes_out: u64,
    /// Items read or written.
    pub items: u64,
    /// Of every item with lists or maps in it that was read or written, the bytes beyond the first
    /// KB: DynamoDB is slow with those, whatever crosses the wire.
    pub nested_excess: u64,
    /// The same units by partition.
    pub per_partition: Vec<PartitionUse>,
}

const WRITE_UNIT: usize = 1024;
const READ_UNIT: usize = 4096;

/// Write units of an item of this size.
pub(crate) fn write_units(size: usize) -> u64 {
    (size.div_ceil(WRITE_UNIT) as u64).max(1)
}

/// Half read units of this many bytes, read together.
pub(crate) fn read_half_units(size: usize, consistent: bool) -> u64 {
    (size.div_ceil(READ_UNIT) as u64).max(1) * if consistent { 2 } else { 1 }
}

impl Consumed {
    pub(crate) fn read(&mut self, table: usize, index: Option<usize>, hash: u64, halves: u64) {
        self.read_half_units += halves;
        self.per_partition.push(PartitionUse {
            table,
            index,
            hash,
            read_half_units: halves,
            write_units: 0,
        });
    }

    pub(crate) fn write(&mut self, table: usize, index: Option<usize>, hash: u64, units: u64) {
        self.write_units += units;
        self.per_partition.push(PartitionUse {
            table,
            index,
            hash,
            read_half_units: 0,
            write_units: units,
        });
    }

    pub(crate) fn touch(&mut self, size: usize, nested: bool) {
        self.items += 1;
        if nested {
            self.nested_excess += size.saturating_sub(WRITE_UNIT) as u64;
        }
    }

    /// Adds what another part of the same request consumed.
    pub(crate) fn add(&mut self, other: Consumed) {
        self.read_half_units += other.read_half_units;
        self.write_units += other.write_units;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.items += other.items;
        self.nested_excess += other.nested_excess;
        self.per_partition.extend(other.per_partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_round_up_once() {
        assert_eq!([0, 1, 1024, 1025].map(write_units), [1, 1, 1, 2]);
        assert_eq!(
            [0, 4096, 4097].map(|size| read_half_units(size, true)),
            [2, 2, 4]
        );
        assert_eq!(
            [0, 4096, 4097].map(|size| read_half_units(size, false)),
            [1, 1, 2]
        );
    }
}
