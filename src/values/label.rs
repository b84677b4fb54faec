//! Closed sets of names, for labels of metrics, fields in the log, and answers of the API.
//!
//! An enum lives with the thing it describes and is written in `labels!`, which gives each member its name. Code that
//! counts by it ([`PerLabel`]) or shows it needs nothing else, and there is no second list that could be forgotten: a
//! member without a name, or a name without a member, does not compile.

use std::{
    fmt,
    ops::{Index, IndexMut},
};

/// An enum whose members have names. Only `labels!` implements it.
pub trait Label: Copy + Eq + fmt::Debug + 'static {
    /// An array with a place for each member.
    type Each<T>: AsRef<[T]> + AsMut<[T]>;

    /// All members, in the order in which they are written.
    const ALL: &'static [Self];

    /// The member's name. It never changes, because operators use it in their dashboards.
    fn as_str(self) -> &'static str;

    /// The position of the member in [`Self::ALL`].
    fn index(self) -> usize;

    /// Takes the value for each member from `of`.
    fn each<T>(of: impl FnMut(Self) -> T) -> Self::Each<T>;
}

/// Defines an enum and the name of each of its members: `Member = "name"`.
///
/// It gets `ALL`, `as_str` and [`Label`](crate::values::label::Label), and the traits of a plain value.
macro_rules! labels {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident {
            $( $(#[$about_member:meta])* $member:ident = $label:literal, )+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $( $(#[$about_member])* $member, )+
        }

        impl $name {
            /// All members, in the order in which they are written.
            $visibility const ALL: [Self; [$($label),+].len()] = [$(Self::$member),+];

            /// The member's name in metrics and logs.
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$member => $label, )+
                }
            }
        }

        impl $crate::values::label::Label for $name {
            type Each<T> = [T; Self::ALL.len()];

            const ALL: &'static [Self] = &Self::ALL;

            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }

            fn index(self) -> usize {
                self as usize
            }

            fn each<T>(of: impl FnMut(Self) -> T) -> Self::Each<T> {
                Self::ALL.map(of)
            }
        }
    };
}

pub(crate) use labels;

/// A value for each member of a set of labels.
pub struct PerLabel<L: Label, T>(L::Each<T>);

impl<L: Label, T> PerLabel<L, T> {
    /// Takes the value for each member from `of`.
    pub fn new(of: impl FnMut(L) -> T) -> Self {
        Self(L::each(of))
    }

    /// The values with their labels.
    pub fn iter(&self) -> impl Iterator<Item = (L, &T)> {
        L::ALL.iter().copied().zip(self.0.as_ref())
    }
}

impl<L: Label, T: Default> Default for PerLabel<L, T> {
    fn default() -> Self {
        Self::new(|_| T::default())
    }
}

impl<L: Label, T> Index<L> for PerLabel<L, T> {
    type Output = T;

    fn index(&self, label: L) -> &T {
        &self.0.as_ref()[label.index()]
    }
}

impl<L: Label, T> IndexMut<L> for PerLabel<L, T> {
    fn index_mut(&mut self, label: L) -> &mut T {
        &mut self.0.as_mut()[label.index()]
    }
}

impl<L: Label, T: PartialEq> PartialEq for PerLabel<L, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl<L: Label, T: fmt::Debug> fmt::Debug for PerLabel<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(label, value)| (label.as_str(), value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    labels! {
        /// An enum for these tests.
        enum Fruit {
            Apple = "apple",
            BloodOrange = "blood_orange",
        }
    }

    #[test]
    fn each_member_has_its_name_and_its_place() {
        assert_eq!(Fruit::ALL.map(Fruit::as_str), ["apple", "blood_orange"]);
        assert_eq!(Fruit::ALL.map(Label::index), [0, 1]);
        assert_eq!(<Fruit as Label>::ALL, Fruit::ALL);
    }

    #[test]
    fn there_is_something_for_each_member() {
        let eaten: PerLabel<Fruit, Cell<u32>> = PerLabel::default();
        eaten[Fruit::BloodOrange].set(2);
        let all: Vec<_> = eaten.iter().map(|(fruit, n)| (fruit.as_str(), n.get())).collect();
        assert_eq!(all, [("apple", 0), ("blood_orange", 2)]);
    }
}
