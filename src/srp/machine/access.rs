// SPDX-License-Identifier: GPL-2.0
//! Access control: the names under which an initiator may have an entry (ACL), the order in which
//! they are looked up, and which existing entry was perhaps meant for an initiator without one.
//!
//! Source of names and order: `srpt_cm_req_recv()` of the in-tree driver. It looks up the names of
//! the initiator's port in the target's directory named after a GUID, and then the port identifier
//! in the directory named after a GID. This driver looks up every name in both directories, those
//! lookups first: an initiator admitted by the in-tree driver gets the same disks here.
//!
//! Not here: the entries (the engine's), the formats of names ([`super::super::wire::ident`]).

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
    /// Returns the kind of the directory with this name.
    pub(crate) fn of(name: &str) -> Self {
        if name.contains(':') {
            Self::Guid
        } else {
            Self::Gid
        }
    }
}

/// Kinds of names of an initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Names of its port: GUID or network address.
    Port,
    /// Its port identifier, which the initiator chooses freely.
    PortId,
}

/// Lookups, in order: kind of directory, kind of names. Within a directory, portal groups are
/// searched in the order of their creation.
const SEARCH: [(Directory, Names); 4] = [
    (Directory::Guid, Names::Port),
    (Directory::Gid, Names::PortId),
    (Directory::Guid, Names::PortId),
    (Directory::Gid, Names::Port),
];

/// Identity of an initiator at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initiator {
    /// Initiator port identifier.
    pub(crate) port_id: PortId,
    /// GUID of its port; available with the InfiniBand CM only.
    pub(crate) guid: Option<Guid>,
    /// Network address; available with the RDMA/CM only.
    pub(crate) addr: Option<IpAddr>,
}

impl Initiator {
    /// Returns the names of a kind, the forms used by the in-tree driver first.
    pub(crate) fn names(self, kind: Names) -> impl Iterator<Item = AclName> {
        let forms: &'static [Form] = match kind {
            Names::Port => &Form::PORT,
            Names::PortId => &[Form::PortId, Form::Bare],
        };
        forms.iter().filter_map(move |&form| self.name(form))
    }

    /// Returns all names, the port identifier first.
    pub(crate) fn all_names(self) -> impl Iterator<Item = AclName> {
        self.names(Names::PortId).chain(self.names(Names::Port))
    }

    /// Tries the entries that may let the initiator in, in order, and returns the first result of
    /// `open`. Its arguments are a portal group and the name of an entry; the result is [`None`] if
    /// the portal group is not enabled or has no such entry. `groups` are the portal groups of a
    /// port in the order of their creation, and `directory` is that of one.
    pub(crate) fn search<G, R>(
        self,
        groups: impl IntoIterator<Item = G> + Clone,
        directory: impl Fn(&G) -> Directory,
        mut open: impl FnMut(&G, AclName) -> Option<R>,
    ) -> Option<R> {
        SEARCH.iter().find_map(|&(of, names)| {
            groups
                .clone()
                .into_iter()
                .filter(|group| directory(group) == of)
                .find_map(|group| self.names(names).find_map(|name| open(&group, name)))
        })
    }

    /// Returns the name in one form; [`None`] if the initiator has no name in that form, or it
    /// equals that in a previous form.
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

    /// Returns how an entry that does not match resembles this initiator; [`None`] if it does not.
    /// `own` is the target's own address.
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

/// Form of a name.
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
    /// An IPv4 address that was received as an IPv4-mapped IPv6 address.
    Dotted,
    /// The address in the form of a port identifier.
    AddressId,
}

impl Form {
    /// Forms of [`Names::Port`].
    const PORT: [Self; 5] = [
        Self::Guid,
        Self::Address,
        Self::Short,
        Self::Dotted,
        Self::AddressId,
    ];
}

/// Returns an address in the form of a port identifier: the digits of the IPv6 address, or of the
/// IPv4-mapped IPv6 address. Tools that accept port identifiers only (rtslib, and LIO where it
/// makes a TransportID of the name) can create entries by address in this form.
fn address_id(addr: IpAddr) -> PortId {
    PortId(match addr.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// Why an entry that resembles an initiator does not match. The more likely it was meant for the
/// initiator, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearly {
    /// The upper half of the port identifier differs: `initiator_ext` of ib_srp.
    OtherExtension,
    /// It is the target's own address. (The in-tree driver compares with that.)
    OwnAddress,
    /// It denotes this initiator in a form that is not looked up: names are compared as text.
    OtherForm,
    /// It matches, but its portal group is not enabled.
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

/// An entry that was perhaps meant for a refused initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Name of the entry.
    pub(crate) entry: AclName,
    /// Why it does not match.
    pub(crate) why: Nearly,
}

/// Advice to the administrator about a login without an entry. Displayed as the end of a log line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The initiator.
    pub(crate) initiator: Initiator,
    /// The entry that was perhaps meant for it.
    pub(crate) hint: Option<Hint>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it may be named {}", self.initiator.port_id)?;
        // Without the form of a port identifier, which is meant for tools.
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
