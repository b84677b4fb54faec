//! How many allocations there may be: in all (508) and for one user (486).
//!
//! Asked when a client allocates, never per packet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    credentials::User,
    files::{FromPool, Pool},
};

/// The counts that all workers share.
#[derive(Debug)]
pub struct Quotas {
    max_total: usize,
    max_per_user: usize,
    /// Where relay ports are, each is a file.
    files: Option<Arc<Pool>>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_user: HashMap<User, usize>,
}

/// Why there is no place for another allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    /// This user has its share: 486.
    #[error("allocation quota of this user reached")]
    User,
    /// The server is full: 508.
    #[error("allocation quota of the server reached")]
    Server,
}

/// A place for one allocation; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    quotas: Arc<Quotas>,
    user: User,
    _file: Option<FromPool>,
}

impl Quotas {
    /// At most `max_total` allocations, at most `max_per_user` for any one user.
    pub fn new(max_total: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self { max_total, max_per_user, files: None, counts: Mutex::default() })
    }

    /// The same, each of them with a file of those that others take too.
    pub fn sharing(max_total: usize, max_per_user: usize, files: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { max_total, max_per_user, files: Some(files), counts: Mutex::default() })
    }

    /// Takes a place for `user`.
    ///
    /// # Errors
    /// [`QuotaExceeded`] says which limit is reached.
    pub fn take(self: &Arc<Self>, user: &User) -> Result<Place, QuotaExceeded> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.max_total {
            return Err(QuotaExceeded::Server);
        }
        let of_user = counts.by_user.get(user).copied().unwrap_or(0);
        if of_user >= self.max_per_user {
            return Err(QuotaExceeded::User);
        }
        let file = match &self.files {
            Some(files) => Some(files.take().ok_or(QuotaExceeded::Server)?),
            None => None,
        };
        counts.by_user.insert(user.clone(), of_user + 1);
        counts.total += 1;
        Ok(Place { quotas: self.clone(), user: user.clone(), _file: file })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(of_user) = counts.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                counts.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let quotas = Quotas::new(3, 2);
        let (alice, bob) = (User::Api("alice".into()), User::Api("bob".into()));
        let first = quotas.take(&alice).unwrap();
        let _second = quotas.take(&alice).unwrap();
        assert_eq!(quotas.take(&alice).unwrap_err(), QuotaExceeded::User);
        let _third = quotas.take(&bob).unwrap();
        assert_eq!(quotas.take(&bob).unwrap_err(), QuotaExceeded::Server);
        drop(first);
        assert!(quotas.take(&bob).is_ok());
        assert_eq!(quotas.counts.lock().unwrap().by_user.len(), 2);
    }

    #[test]
    fn where_files_are_used_up_there_is_no_place() {
        let (files, alice) = (Pool::new(2), User::Api("alice".into()));
        let quotas = Quotas::sharing(10, 10, files.clone());
        let (first, other) = (quotas.take(&alice).unwrap(), files.take());
        assert_eq!(quotas.take(&alice).unwrap_err(), QuotaExceeded::Server);
        drop(other);
        let _second = quotas.take(&alice).unwrap();
        drop(first);
        assert!(files.take().is_some());
    }
}
