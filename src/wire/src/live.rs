//! Classes of what is said in a live room: which of it goes first when there is too much.

/// The class of a LIVE frame, its `id`. In the order in which they are kept: who is short of room leaves out likes first and
/// system messages last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// What the server or an administrator says: notices, tallies.
    System = 0,
    /// Gifts and other things of high priority.
    Gift = 1,
    /// Text, and everything without a priority.
    Chat = 2,
    /// Likes and other things of low priority.
    Like = 3,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, the most important one first.
    pub const ALL: [Self; Self::COUNT] = [Self::System, Self::Gift, Self::Chat, Self::Like];

    /// The class of a frame with this `id`. An id that is not known yet is the least important.
    #[must_use]
    pub fn of(id: u64) -> Self {
        match id {
            0 => Self::System,
            1 => Self::Gift,
            2 => Self::Chat,
            _ => Self::Like,
        }
    }

    /// The `id` of its frames.
    #[must_use]
    pub fn id(self) -> u64 {
        self as u64
    }

    /// Its place in a table of [`Self::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_unknown_ones_are_the_least() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!((Class::of(class.id()), class.index()), (class, index));
        }
        assert_eq!(Class::of(77), Class::Like);
    }
}
