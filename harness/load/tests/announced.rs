//! What functions announce to read is what they read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Ctx, Name, Observer, Seen, TableKey, What};
use triptych_load::campaign::Campaign;
use triptych_load::run::{Subject, Watch, run_subject};

/// Notes the keys that one execution reads.
#[derive(Default)]
struct Reads(RefCell<BTreeSet<TableKey>>);

impl Observer for Reads {
    fn observe(&self, seen: &Seen<'_>) {
        if let What::Read { table, key, .. } = seen.what {
            let key = (Name::from(table), Name::from(key));
            self.0.borrow_mut().insert(key);
        }
    }
}

thread_local! {
    /// Calls that announced something and ended well, and what some announced and did not read.
    static CHECKED: Cell<u64> = const { Cell::new(0) };
    static WRONG: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

fn watch(app: &mut App) {
    for function in &mut app.functions {
        let (inner, announces) = (Rc::clone(&function.handler), function.reads);
        let name = function.name.clone();
        function.handler = Rc::new(move |ctx: &mut Ctx, call: Call| {
            let (announced, op) = (announces(&call), call.op.clone());
            let reads = Rc::new(Reads::default());
            ctx.observe(Rc::clone(&reads) as _);
            let (inner, name) = (Rc::clone(&inner), name.clone());
            Box::pin(async move {
                let result = inner(ctx, call).await;
                if let (Ok(_), Some(announced)) = (&result, announced) {
                    let read = reads.0.borrow();
                    let all = announced.here.iter().all(|key| read.contains(key));
                    let told = (!all).then(|| format!("{name}.{op}"));
                    WRONG.with_borrow_mut(|wrong| wrong.extend(told));
                    CHECKED.set(CHECKED.get() + u64::from(!announced.here.is_empty()));
                }
                result
            })
        });
    }
}

#[test]
fn what_is_announced_is_read() {
    for profile in ["full-movie", "full-travel", "full-social"] {
        let text = format!(
            "name = \"t\"\nruntimes = [\"baseline\"]\nprofiles = [\"{profile}\"]\nrates = [60]\n\
             duration = \"4s\"\nwarmup = \"0s\"\nhistory = false\n"
        );
        let campaign = Campaign::parse("t.toml", &text).unwrap();
        let cell = &campaign.cells()[0];
        let mut subject = Subject::of(&campaign, cell).unwrap();
        watch(&mut subject.app);
        let before = CHECKED.get();
        run_subject(&campaign, cell, "", &Watch::default(), subject).unwrap();
        assert!(CHECKED.get() > before + 100, "{profile}");
    }
    WRONG.with_borrow(|wrong| assert_eq!(*wrong, BTreeSet::new()));
}
