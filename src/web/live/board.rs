//! The board: where every asset is and what it does, in memory, written by the thread `live` and read by whoever shows it.
//!
//! Each asset hangs there as the JSON that everybody gets who sees its group, so that showing 20 000 of them copies bytes and nothing
//! else. Every change has a number; whoever has seen a number is told what changed since. The lock is held while pointers are copied,
//! never while anything is written or sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Semaphore, broadcast};

use crate::clock;

/// Pages that may follow the board; the other connections are for all that is asked once.
pub(super) const FOLLOWERS_MAX: usize = 48;
/// Changes that a slow follower may be behind, one a second at most; beyond that it loads all anew.
const BEHIND_MAX: usize = 16;
/// Assets that went, of which whoever comes back is told; whoever was away for longer loads all anew.
const GONE_MAX: usize = 4096;

/// One asset.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) group: i32,
    /// `Position`, as it is sent.
    pub(super) json: Arc<str>,
}

/// What is sent to followers.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Assets changed.
    Assets(Arc<Assets>),
    /// The database is away, or is back (`None`).
    Trouble(Option<Arc<str>>),
}

/// Assets that changed together.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) number: u64,
    pub(super) at_us: i64,
    /// Group and JSON.
    pub(super) shown: Vec<(i32, Arc<str>)>,
    /// Group and id of those that are gone from it.
    pub(super) gone: Vec<(i32, i32)>,
}

/// What hangs on the board.
#[derive(Debug, Default)]
struct Content {
    /// Number of the last change.
    number: u64,
    at_us: i64,
    trouble: Option<Arc<str>>,
    is_loaded: bool,
    entries: BTreeMap<i32, (u64, Entry)>,
    /// Number, group and id of those that went, the oldest first.
    gone: VecDeque<(u64, i32, i32)>,
    /// Of those that went up to this number nothing is known any more.
    gone_until: u64,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    /// Tells numbers of this process from those of one before.
    begun_us: i64,
    content: RwLock<Content>,
    changes: broadcast::Sender<Change>,
    pub(super) places: Arc<Semaphore>,
}

/// What somebody sees of the board.
#[derive(Debug)]
pub(super) struct View {
    pub(super) number: u64,
    pub(super) at_us: i64,
    pub(super) trouble: Option<Arc<str>>,
    pub(super) shown: Vec<Arc<str>>,
    /// Ids of those that went; `None`: too long ago to tell.
    pub(super) gone: Option<Vec<i32>>,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            begun_us: clock::wall_us(),
            content: RwLock::default(),
            changes: broadcast::channel(BEHIND_MAX).0,
            places: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        }
    }
}

impl Board {
    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What whoever sees these groups sees of what has changed after `number`; `None`: nothing was ever loaded.
    pub(super) fn view(&self, groups: Option<&[i32]>, after: u64) -> Option<View> {
        let content = self.read();
        content.is_loaded.then(|| View {
            number: content.number,
            at_us: content.at_us,
            trouble: content.trouble.clone(),
            shown: content
                .entries
                .values()
                .filter(|(number, entry)| *number > after && sees(groups, entry.group))
                .map(|(_, entry)| Arc::clone(&entry.json))
                .collect(),
            gone: (after >= content.gone_until).then(|| {
                let since = content.gone.iter().filter(|(number, ..)| *number > after);
                let gone = since.filter(|(_, group, id)| {
                    let is_back = content
                        .entries
                        .get(id)
                        .is_some_and(|(_, one)| sees(groups, one.group));
                    sees(groups, *group) && !is_back
                });
                gone.map(|(.., id)| *id).collect()
            }),
        })
    }

    /// Changes from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The name of a change, for whoever comes back.
    pub(super) fn mark(&self, number: u64) -> String {
        format!("{}-{number}", self.begun_us)
    }

    /// The number in such a name; 0, before all changes, where another process gave it.
    pub(super) fn number(&self, mark: &str) -> u64 {
        mark.split_once('-')
            .filter(|(begun, _)| begun.parse() == Ok(self.begun_us))
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(0)
    }

    /// Hangs up what changed: `new` assets, and what became of those that are not in use any more.
    pub(super) fn put(&self, at_us: i64, new: Vec<(i32, Entry)>, gone: &[i32]) {
        let mut content = self.write();
        let content = &mut *content;
        let number = content.number + 1;
        let mut assets = Assets {
            number,
            at_us,
            shown: Vec::new(),
            gone: Vec::new(),
        };
        for id in gone {
            if let Some((_, entry)) = content.entries.remove(id) {
                assets.gone.push((entry.group, *id));
            }
        }
        for (id, entry) in new {
            let before = content.entries.get(&id);
            if before.is_some_and(|(_, before)| *before == entry) {
                continue;
            }
            if let Some((_, before)) = before
                && before.group != entry.group
            {
                assets.gone.push((before.group, id));
            }
            assets.shown.push((entry.group, Arc::clone(&entry.json)));
            content.entries.insert(id, (number, entry));
        }
        content.at_us = at_us;
        content.is_loaded = true;
        if assets.shown.is_empty() && assets.gone.is_empty() {
            return;
        }
        content.number = number;
        for (group, id) in &assets.gone {
            content.gone.push_back((number, *group, *id));
        }
        while content.gone.len() > GONE_MAX {
            content.gone_until = content
                .gone
                .pop_front()
                .map_or(number, |(number, ..)| number);
        }
        // Within the lock, so that whoever has read number n hears n + 1. An error says that nobody follows.
        let _ = self.changes.send(Change::Assets(Arc::new(assets)));
    }

    /// The ids of all assets that hang there.
    pub(super) fn ids(&self) -> Vec<i32> {
        self.read().entries.keys().copied().collect()
    }

    /// The database is away, or is back.
    pub(super) fn set_trouble(&self, trouble: Option<&str>) {
        let mut content = self.write();
        if content.trouble.as_deref() == trouble {
            return;
        }
        content.trouble = trouble.map(Arc::from);
        // An error says that nobody follows.
        let _ = self.changes.send(Change::Trouble(content.trouble.clone()));
    }
}

/// Whether whoever sees these groups sees this one.
pub(super) fn sees(groups: Option<&[i32]>, group: i32) -> bool {
    groups.is_none_or(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(group: i32, json: &str) -> Entry {
        Entry {
            group,
            json: json.into(),
        }
    }

    fn next(follower: &mut broadcast::Receiver<Change>) -> Option<Arc<Assets>> {
        match follower.try_recv() {
            Ok(Change::Assets(assets)) => Some(assets),
            _ => None,
        }
    }

    fn shown(view: &View) -> Vec<&str> {
        view.shown.iter().map(|json| &**json).collect()
    }

    #[test]
    fn who_sees_a_group_sees_its_assets_and_no_others() {
        let board = Board::default();
        assert!(board.view(None, 0).is_none(), "nothing was loaded");
        board.put(1, vec![(1, entry(1, "a")), (2, entry(2, "b"))], &[]);
        assert_eq!(shown(&board.view(None, 0).unwrap()), ["a", "b"]);
        assert_eq!(shown(&board.view(Some(&[2]), 0).unwrap()), ["b"]);
        assert_eq!(shown(&board.view(Some(&[]), 0).unwrap()), [""; 0]);
    }

    #[test]
    fn whoever_comes_back_is_told_what_changed_since() {
        let board = Board::default();
        board.put(1, vec![(1, entry(1, "a")), (2, entry(1, "b"))], &[]);
        let mark = board.mark(board.view(None, 0).unwrap().number);
        board.put(2, vec![(2, entry(1, "c"))], &[]);
        assert_eq!(
            shown(&board.view(None, board.number(&mark)).unwrap()),
            ["c"]
        );
        assert_eq!(board.number("12-1"), 0, "of another process");
        assert_eq!(board.number("nonsense"), 0);
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        let board = Board::default();
        let mut follower = board.follow();
        board.put(1, vec![(1, entry(1, "a"))], &[]);
        assert!(next(&mut follower).is_some());
        board.put(2, vec![(1, entry(1, "a"))], &[7]);
        assert!(next(&mut follower).is_none());
    }

    #[test]
    fn an_asset_that_changes_hands_is_gone_for_the_one_and_there_for_the_other() {
        let board = Board::default();
        board.put(1, vec![(1, entry(1, "a"))], &[]);
        let mut follower = board.follow();
        board.put(2, vec![(1, entry(2, "b"))], &[]);
        let change = next(&mut follower).unwrap();
        assert_eq!(change.gone, [(1, 1)]);
        assert_eq!(change.shown, [(2, "b".into())]);
        assert_eq!(board.view(Some(&[1]), 1).unwrap().gone, Some(vec![1]));
        assert_eq!(board.view(Some(&[1, 2]), 1).unwrap().gone, Some(vec![]));
        board.put(3, vec![], &[1]);
        assert_eq!(next(&mut follower).unwrap().gone, [(2, 1)]);
        assert_eq!(board.view(None, 2).unwrap().gone, Some(vec![1]));
        assert_eq!(board.view(None, 3).unwrap().gone, Some(vec![]));
    }

    #[test]
    fn trouble_is_told_once_when_it_comes_and_once_when_it_goes() {
        let board = Board::default();
        let mut follower = board.follow();
        for trouble in [Some("away"), Some("away"), None, None] {
            board.set_trouble(trouble);
        }
        let mut told = Vec::new();
        while let Ok(Change::Trouble(trouble)) = follower.try_recv() {
            told.push(trouble.is_some());
        }
        assert_eq!(told, [true, false]);
    }
}
