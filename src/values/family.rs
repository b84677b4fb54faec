//! The two address families, and values for each of them.

use std::{
    net::IpAddr,
    ops::{Index, IndexMut},
};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Both families, in the order in which relayed addresses are given out.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// A value for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFamily<T> {
    v4: T,
    v6: T,
}

impl<T> ByFamily<T> {
    /// Takes the value for each family from `of`.
    pub fn new(mut of: impl FnMut(Family) -> T) -> Self {
        Self { v4: of(Family::V4), v6: of(Family::V6) }
    }
}

impl<T> ByFamily<Option<T>> {
    /// The values that are present.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.v4, &self.v6].into_iter().flatten()
    }
}

impl FromIterator<IpAddr> for ByFamily<Option<IpAddr>> {
    /// Keeps the last address of each family.
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut by_family = Self::default();
        for address in addresses {
            by_family[Family::of(address)] = Some(address);
        }
        by_family
    }
}

impl<T> Index<Family> for ByFamily<T> {
    type Output = T;

    fn index(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl<T> IndexMut<Family> for ByFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// One address, or one of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// The usual case.
    One(Family),
    /// ADDITIONAL-ADDRESS-FAMILY.
    Both,
}

impl Families {
    /// Whether this family is included.
    pub fn contains(self, family: Family) -> bool {
        match self {
            Self::One(one) => one == family,
            Self::Both => true,
        }
    }

    /// The families with a value. At least one must have a value.
    pub fn of<T>(some: &ByFamily<Option<T>>) -> Self {
        match (&some[Family::V4], &some[Family::V6]) {
            (Some(_), Some(_)) => Self::Both,
            (None, Some(_)) => Self::One(Family::V6),
            (_, None) => Self::One(Family::V4),
        }
    }

    /// The text for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One(Family::V4) => "ipv4",
            Self::One(Family::V6) => "ipv6",
            Self::Both => "both",
        }
    }
}
