//! What a node finds when it starts.

use crate::Key;

/// A node's store as it was left, for its factory to recover from.
pub trait Stored {
    /// All keys and values whose key begins with a prefix, in the keys' order.
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
}
