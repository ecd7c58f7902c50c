//! What of a request's head is looked at before anything else: its sizes, and its path.
//!
//! A path that could be read in several ways is 400. Not here: which form a path has
//! (`proto::path`), which paths there are, the query.

use std::borrow::Cow;

use super::Asked;
use crate::edge::refusal::Refusal;
use crate::proto::path::normal_path;

/// Browsers send about twenty fields, chains of proxies add a dozen.
pub(in crate::edge) const FIELDS_MAX: usize = 100;
/// A JWT of 8 KiB as a parameter, and as much again.
pub(in crate::edge) const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Checks the sizes, and gives the path in the one form that is looked up.
pub(super) fn checked_path<'a>(asked: &Asked<'a>) -> Result<Cow<'a, str>, Refusal> {
    if asked.path.len() + asked.query.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if asked.headers.len() > FIELDS_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    normal_path(asked.path).map_err(|_| Refusal::BadPath)
}
