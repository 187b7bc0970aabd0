// SPDX-License-Identifier: GPL-2.0

//! What a system call on a bad image may say.

use rustix::io::Errno;

const EXPECTED: [(Errno, &str); 26] = [
    (Errno::UCLEAN, "EUCLEAN"),
    (Errno::INVAL, "EINVAL"),
    (Errno::IO, "EIO"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::ROFS, "EROFS"),
    (Errno::BADMSG, "EBADMSG"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::NOENT, "ENOENT"),
    (Errno::EXIST, "EEXIST"),
    (Errno::NOTEMPTY, "ENOTEMPTY"),
    (Errno::LOOP, "ELOOP"),
    (Errno::STALE, "ESTALE"),
    (Errno::MLINK, "EMLINK"),
    (Errno::FBIG, "EFBIG"),
    (Errno::NXIO, "ENXIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::NOTDIR, "ENOTDIR"),
    // Immutable and append-only files.
    (Errno::PERM, "EPERM"),
    // Permissions do not bind root, but MS_NOEXEC and MS_NODEV do.
    (Errno::ACCESS, "EACCESS"),
    (Errno::NODEV, "ENODEV"),
    (Errno::OVERFLOW, "EOVERFLOW"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::NODATA, "ENODATA"),
    (Errno::RANGE, "ERANGE"),
    (Errno::NOTTY, "ENOTTY"),
    // A directory that is its own parent, to be moved or removed.
    (Errno::BUSY, "EBUSY"),
];

/// Whether it may be said.
pub(super) fn expected(errno: Errno) -> bool {
    EXPECTED.iter().any(|(e, _)| *e == errno)
}

/// The name of an errno.
pub(super) fn name(errno: Errno) -> String {
    let known = EXPECTED.iter().find(|(e, _)| *e == errno);
    known.map_or_else(|| format!("{errno:?}"), |(_, name)| (*name).to_string())
}
