// SPDX-License-Identifier: GPL-2.0
//! Access control: the names an initiator may have an entry (ACL) under, the order in which they are
//! looked for, and which entry was perhaps meant for an initiator that has none.
//!
//! Source of names and order: `srpt_cm_req_recv()` of the in-tree driver. It looks for the names of
//! the initiator's port in the target's directory that is named after a GUID, and then for its port
//! identifier in the one named after a GID. Here every name counts in both, after those: an initiator
//! that is let in there gets the same disks here.
//!
//! Not here: the entries (the engine's), the forms of names ([`super::super::wire::ident`]).

use core::{
    fmt,
    net::IpAddr, //
};

use super::super::wire::ident::{
    AclId,
    AclName,
    Guid,
    PortId,
    Uncompressed, //
};

/// What a target's directory is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// The port's GUID: four groups.
    Guid,
    /// The port's GID: `0x` and 32 digits.
    Gid,
}

impl Directory {
    /// Returns the kind of a directory with this name.
    pub(crate) fn of(name: &str) -> Self {
        if name.contains(':') {
            Self::Guid
        } else {
            Self::Gid
        }
    }
}

/// The two kinds of names of an initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// What its port goes by: GUID or network address.
    Port,
    /// Its port identifier, which it chooses itself.
    PortId,
}

/// Which names are looked for in which directories, one after the other; in each in the order in
/// which its portal groups were made.
pub(crate) const SEARCH: [(Directory, Names); 4] = [
    (Directory::Guid, Names::Port),
    (Directory::Gid, Names::PortId),
    (Directory::Guid, Names::PortId),
    (Directory::Gid, Names::Port),
];

/// What an initiator shows of itself at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initiator {
    /// Initiator port identifier.
    pub(crate) port_id: PortId,
    /// GUID of its port, known with the InfiniBand CM only.
    pub(crate) guid: Option<Guid>,
    /// Network address, known with the RDMA/CM only.
    pub(crate) addr: Option<IpAddr>,
}

impl Initiator {
    /// Returns the names of a kind, those that the in-tree driver uses first.
    pub(crate) fn names(self, kind: Names) -> impl Iterator<Item = AclName> {
        let forms: &'static [Form] = match kind {
            Names::Port => &Form::PORT,
            Names::PortId => &[Form::PortId, Form::Bare],
        };
        forms.iter().filter_map(move |&form| self.name(form))
    }

    /// Returns all of them, the port identifier first.
    pub(crate) fn all_names(self) -> impl Iterator<Item = AclName> {
        self.names(Names::PortId).chain(self.names(Names::Port))
    }

    /// Returns the name in one form, if it has one in that form that differs from those before.
    fn name(&self, form: Form) -> Option<AclName> {
        let name = match (form, self.addr) {
            (Form::PortId, _) => AclName::from_display(self.port_id),
            (Form::Bare, _) => AclName::from_display(self.port_id.without_prefix()),
            (Form::Guid, _) => AclName::from_display(self.guid?),
            (Form::Address, Some(IpAddr::V4(v4))) => AclName::from_display(v4),
            (Form::Address, Some(IpAddr::V6(v6))) => AclName::from_display(Uncompressed(v6)),
            (Form::Short, Some(IpAddr::V6(v6))) => AclName::from_display(v6),
            (Form::Dotted, Some(IpAddr::V6(v6))) => AclName::from_display(v6.to_ipv4_mapped()?),
            (Form::AddressId, Some(addr)) => AclName::from_display(address_id(addr)),
            _ => return None,
        };
        name.ok()
    }

    /// Says how an entry that does not match nearly does, for the administrator of a target whose own
    /// address is `own`; [`None`] if it has nothing to do with this initiator.
    pub(crate) fn nearly(&self, entry: AclId, own: Option<IpAddr>) -> Option<Nearly> {
        match entry {
            AclId::PortId(id) if id == self.port_id || self.addr.map(address_id) == Some(id) => {
                Some(Nearly::OtherForm)
            }
            AclId::PortId(id) if own.map(address_id) == Some(id) => Some(Nearly::OwnAddress),
            AclId::Guid(guid) if Some(guid) == self.guid => Some(Nearly::OtherForm),
            AclId::Ip(addr)
                if Some(addr.to_canonical()) == self.addr.map(|own| own.to_canonical()) =>
            {
                Some(Nearly::OtherForm)
            }
            AclId::PortId(id) if id.halves().1 == self.port_id.halves().1 => {
                Some(Nearly::OtherExtension)
            }
            AclId::Ip(addr) if Some(addr.to_canonical()) == own.map(|own| own.to_canonical()) => {
                Some(Nearly::OwnAddress)
            }
            _ => None,
        }
    }
}

/// A form of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `0x` and 32 digits.
    PortId,
    /// 32 digits.
    Bare,
    /// Four groups of four digits.
    Guid,
    /// Dotted, or eight groups of four digits.
    Address,
    /// An IPv6 address, compressed.
    Short,
    /// An IPv4 address that came in the guise of an IPv6 address.
    Dotted,
    /// The address in the form of a port identifier.
    AddressId,
}

impl Form {
    /// Those of [`Names::Port`].
    const PORT: [Self; 5] = [
        Self::Guid,
        Self::Address,
        Self::Short,
        Self::Dotted,
        Self::AddressId,
    ];
}

/// Returns an address in the form of a port identifier: the digits of the IPv6 address, or of the
/// one that stands for an IPv4 address. Tools that know port identifiers only (rtslib, and LIO where
/// it makes a TransportID of the name) can have entries by address with it.
fn address_id(addr: IpAddr) -> PortId {
    PortId(match addr.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// Why an entry does not match although it looks as if it should; what is more likely to have been
/// meant is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearly {
    /// The upper half of the port identifier differs: `initiator_ext` of ib_srp.
    OtherExtension,
    /// It names the target's own address. (The in-tree driver compares with that.)
    OwnAddress,
    /// It means this initiator, but is spelled in a form that is not looked for: names are compared
    /// as text.
    OtherForm,
    /// It matches, but it is in a portal group that is not enabled.
    Disabled,
}

impl fmt::Display for Nearly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherExtension => "differs in initiator_ext",
            Self::OwnAddress => "is the target's own address, not the initiator's",
            Self::OtherForm => "means it, but is spelled in another way",
            Self::Disabled => "matches, but its portal group is not enabled",
        })
    }
}

/// An entry that was perhaps meant for an initiator that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Its name.
    pub(crate) entry: AclName,
    /// Why it does not let the initiator in.
    pub(crate) why: Nearly,
}

/// What an administrator can do about a login that no entry lets in. Displayed as the end of a line
/// in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The initiator.
    pub(crate) initiator: Initiator,
    /// The entry that was perhaps meant.
    pub(crate) hint: Option<Hint>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it may be named {}", self.initiator.port_id)?;
        // Not in the form of a port identifier, which is for tools.
        for form in Form::PORT {
            match self.initiator.name(form) {
                Some(name) if form != Form::AddressId => write!(f, " or {name}")?,
                _ => {}
            }
        }
        match &self.hint {
            Some(Hint { entry, why }) => write!(f, "; ACL {entry} {why}"),
            None => Ok(()),
        }
    }
}
