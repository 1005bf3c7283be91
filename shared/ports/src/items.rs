//! Lists of items that are read one by one, so that an unreadable item hides no other.

/// An item of the table that this version cannot read: a newer version wrote it, or a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableItem {
    /// What its key names: a pipeline, a run, a cluster, a launch.
    pub name: String,
    /// Its document as it stands there, where it has one.
    pub document: Option<String>,
    /// Why it cannot be read.
    pub reason: String,
}

/// The items of a list, in its order, and apart from them those that cannot be read.
///
/// A caller decides what an unreadable item affects; it never fails the list. An error of the list itself means that
/// the service did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemList<T> {
    /// Those that could be read.
    pub items: Vec<T>,
    /// Those that could not.
    pub unreadable: Vec<UnreadableItem>,
}

impl<T> Default for ItemList<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new() }
    }
}

impl<T> FromIterator<Result<T, UnreadableItem>> for ItemList<T> {
    fn from_iter<I: IntoIterator<Item = Result<T, UnreadableItem>>>(read: I) -> Self {
        let mut list = Self::default();
        for item in read {
            match item {
                Ok(item) => list.items.push(item),
                Err(unreadable) => list.unreadable.push(unreadable),
            }
        }
        list
    }
}
