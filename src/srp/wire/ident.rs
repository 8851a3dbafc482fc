// SPDX-License-Identifier: GPL-2.0
//! Identifiers of ports and logical units, and the names derived from them.
//!
//! Holds the GUID, port identifier and LUN types with their text forms, and the parser for the
//! names of access control entries (ACLs). The text forms are those of the in-tree `ib_srpt`
//! driver, because they appear in saved configurations; the LUN arithmetic follows
//! `scsilun_to_int()` and the single-level addressing methods of SAM.
//!
//! Not here: which names an initiator may have an entry under ([`super::super::machine::access`]),
//! and where entries are stored and compared (the SCSI engine).

use core::{
    ffi::CStr,
    fmt,
    fmt::Write as _,
    net::{
        IpAddr,
        Ipv6Addr, //
    }, //
};

/// A 64-bit global identifier. Displayed as `%04x:%04x:%04x:%04x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Guid(pub(crate) u64);

impl Guid {
    /// Builds a GUID from its wire bytes.
    pub(crate) const fn from_be_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// Returns the wire bytes.
    pub(crate) const fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Parses 1 to 16 hexadecimal digits with an optional `0x` prefix.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digits = strip_0x(text);
        if digits.is_empty() || digits.len() > 16 {
            return None;
        }
        hex_value(digits.as_bytes()).map(Self)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.to_be_bytes();
        write!(
            f,
            "{a:02x}{b:02x}:{c:02x}{d:02x}:{e:02x}{g:02x}:{h:02x}{i:02x}"
        )
    }
}

/// A 128-bit port identifier; a GID has the same form. Displayed as `0x%016llx%016llx`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PortId(pub(crate) [u8; 16]);

impl PortId {
    /// Builds a port identifier from its two halves.
    pub(crate) fn from_halves(high: Guid, low: Guid) -> Self {
        let mut bytes = [0; 16];
        for (dst, src) in bytes
            .iter_mut()
            .zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes()))
        {
            *dst = src;
        }
        Self(bytes)
    }

    /// Returns the two halves, most significant first.
    pub(crate) const fn halves(self) -> (Guid, Guid) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        (
            Guid::from_be_bytes([a, b, c, d, e, f, g, h]),
            Guid::from_be_bytes([i, j, k, l, m, n, o, p]),
        )
    }

    /// Returns a value that displays the 32 hexadecimal digits without prefix.
    pub(crate) const fn without_prefix(self) -> BareHex {
        BareHex(self)
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", self.without_prefix())
    }
}

/// Displays a [`PortId`] as 32 hexadecimal digits, nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareHex(PortId);

impl fmt::Display for BareHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.0.halves();
        write!(f, "{:016x}{:016x}", high.0, low.0)
    }
}

/// A logical unit number in its eight-byte wire form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lun(pub(crate) [u8; 8]);

/// How the first level of a [`Lun`] addresses a logical unit (SAM, bits 7 and 6 of byte 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LunMethod {
    /// Peripheral device addressing (00b).
    Peripheral,
    /// Flat space addressing (01b).
    Flat,
    /// Logical unit addressing (10b).
    LogicalUnit,
    /// Extended logical unit addressing (11b).
    Extended,
}

impl Lun {
    /// Returns the value `scsilun_to_int()` yields: addressing method bits are kept.
    ///
    /// Each pair of bytes is a big-endian 16-bit number; the first pair is the least significant.
    pub(crate) const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([g, h, e, f, c, d, a, b])
    }

    /// Builds the wire form of `value`, as `int_to_scsilun()` does.
    pub(crate) const fn from_u64(value: u64) -> Self {
        let [g, h, e, f, c, d, a, b] = value.to_be_bytes();
        Self([a, b, c, d, e, f, g, h])
    }

    /// Returns the addressing method of the first level.
    pub(crate) const fn method(self) -> LunMethod {
        let [first, ..] = self.0;
        match first >> 6 {
            0 => LunMethod::Peripheral,
            1 => LunMethod::Flat,
            2 => LunMethod::LogicalUnit,
            _ => LunMethod::Extended,
        }
    }

    /// Returns the logical unit number behind a single-level address.
    ///
    /// With all three simple addressing methods the number is taken from the 14 bits after the
    /// method bits: Linux initiators store numbers above 255 there regardless of the method, and a
    /// target without buses behind it has no other use for the bus and target bits. [`None`] for
    /// extended addressing and for addresses with more than one level.
    pub(crate) const fn flat(self) -> Option<u64> {
        match (self.0, self.method()) {
            (_, LunMethod::Extended) => None,
            ([high, low, 0, 0, 0, 0, 0, 0], _) => {
                Some(u64::from_be_bytes([0, 0, 0, 0, 0, 0, high & 0x3f, low]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", u64::from_be_bytes(self.0))
    }
}

/// The text does not fit in a [`NameBuf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameTooLong;

/// A fixed-size text buffer with room for a terminating NUL.
///
/// At most `N - 1` bytes of text fit. A write that does not fit, or that contains a NUL, fails and
/// leaves the buffer unchanged: a truncated name could be that of another initiator.
///
/// # Invariants
///
/// `bytes[..len]` is UTF-8 without NUL, `bytes[len..]` is zero and not empty (unless `N` is 0).
#[derive(Clone, Copy)]
pub(crate) struct NameBuf<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> NameBuf<N> {
    /// Returns an empty buffer.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Returns a buffer holding the text of `value`.
    ///
    /// # Errors
    ///
    /// [`NameTooLong`] if it does not fit.
    pub(crate) fn from_display(value: impl fmt::Display) -> Result<Self, NameTooLong> {
        let mut buf = Self::new();
        write!(buf, "{value}").map_err(|_| NameTooLong)?;
        Ok(buf)
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        self.bytes
            .get(..self.len)
            .and_then(|text| core::str::from_utf8(text).ok())
            .unwrap_or("")
    }

    /// Returns the text as a C string.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl<const N: usize> fmt::Write for NameBuf<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        // `end < N` keeps the terminating NUL.
        if end >= N || s.bytes().any(|b| b == 0) {
            return Err(fmt::Error);
        }
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for NameBuf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for NameBuf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> PartialEq for NameBuf<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for NameBuf<N> {}

/// Size of a buffer for any ACL name: an uncompressed IPv6 address and a NUL.
pub(crate) const ACL_NAME_SIZE: usize = 40;

/// An ACL name.
pub(crate) type AclName = NameBuf<ACL_NAME_SIZE>;

/// The text is not the name of an initiator in any known form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadAclName;

/// What an ACL name denotes. Displayed in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AclId {
    /// Port GUID of the initiator.
    Guid(Guid),
    /// Initiator port identifier.
    PortId(PortId),
    /// Network address of the initiator.
    Ip(IpAddr),
}

impl AclId {
    /// Returns whether LIO makes a TransportID of the name for persistent reservations: of
    /// hexadecimal digits only. Source: `srp_get_pr_transport_id()`.
    pub(crate) const fn has_transport_id(self) -> bool {
        matches!(self, Self::PortId(_))
    }

    /// Parses an ACL name.
    ///
    /// Accepted are four groups of 1 to 4 hexadecimal digits separated by colons (GUID), an even
    /// number of up to 32 hexadecimal digits with optional `0x` prefix (port identifier, missing
    /// leading digits are zero) and IPv4 and IPv6 addresses without scope.
    ///
    /// # Errors
    ///
    /// [`BadAclName`] for everything else, trailing characters included.
    pub(crate) fn parse(name: &str) -> Result<Self, BadAclName> {
        parse_guid(name)
            .map(Self::Guid)
            .or_else(|| parse_port_id(name).map(Self::PortId))
            .or_else(|| name.parse().ok().map(Self::Ip))
            .ok_or(BadAclName)
    }
}

impl fmt::Display for AclId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => guid.fmt(f),
            Self::PortId(id) => id.fmt(f),
            Self::Ip(addr) => addr.fmt(f),
        }
    }
}

/// Returns the name of a port identified by its GID: eight groups of four digits. SCST uses it for
/// the ports of its SRP target and for the initiators that log in through the InfiniBand CM.
pub(crate) fn gid_name(gid: PortId) -> AclName {
    // 39 characters always fit.
    AclName::from_display(Uncompressed(Ipv6Addr::from(gid.0))).unwrap_or(AclName::new())
}

/// Returns the name of an initiator identified by its network address. Unlike
/// [`Initiator::names`](super::super::machine::access::Initiator::names) it has one form only:
/// dotted for IPv4, also for an IPv4-mapped IPv6 address, and eight groups of four digits for IPv6.
pub(crate) fn address_name(addr: IpAddr) -> AclName {
    match addr.to_canonical() {
        IpAddr::V4(v4) => AclName::from_display(v4).unwrap_or(AclName::new()),
        IpAddr::V6(v6) => gid_name(PortId(v6.octets())),
    }
}

/// Displays an IPv6 address as eight groups of four digits, as `%pI6` does.
pub(crate) struct Uncompressed(pub(crate) Ipv6Addr);

impl fmt::Display for Uncompressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.segments().into_iter().enumerate() {
            let separator = if i == 0 { "" } else { ":" };
            write!(f, "{separator}{group:04x}")?;
        }
        Ok(())
    }
}

/// Removes a `0x` or `0X` prefix.
fn strip_0x(text: &str) -> &str {
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text)
}

/// Returns the value of at most 16 hexadecimal digits; no digits are zero.
fn hex_value(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |acc, &byte| {
        Some((acc << 4) | u64::from(char::from(byte).to_digit(16)?))
    })
}

/// Parses the GUID form of an ACL name.
fn parse_guid(name: &str) -> Option<Guid> {
    // Splitting bytes instead of text avoids a bounds check in `core`, hence a panic.
    let mut groups = name.as_bytes().split(|&byte| byte == b':');
    let mut value = 0u64;
    for _ in 0..4 {
        let group = groups.next()?;
        if group.is_empty() || group.len() > 4 {
            return None;
        }
        value = (value << 16) | hex_value(group)?;
    }
    match groups.next() {
        Some(_) => None,
        None => Some(Guid(value)),
    }
}

/// Parses the port identifier form of an ACL name.
fn parse_port_id(name: &str) -> Option<PortId> {
    let digits = strip_0x(name).as_bytes();
    if digits.is_empty() || digits.len() > 32 || digits.len() % 2 != 0 {
        return None;
    }
    let (high, low) = digits.split_at_checked(digits.len().saturating_sub(16))?;
    Some(PortId::from_halves(
        Guid(hex_value(high)?),
        Guid(hex_value(low)?),
    ))
}
