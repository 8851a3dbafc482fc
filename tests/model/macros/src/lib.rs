// SPDX-License-Identifier: GPL-2.0
//! `#[pin_data]` for the host, where pinned types are made as others are: takes `#[pin]` away.
//!
//! An attribute needs a crate of its own; the initialisers are in the crate `kernel`.

use proc_macro::{Group, TokenStream, TokenTree};

/// Takes the attribute `pin` from the fields.
#[proc_macro_attribute]
pub fn pin_data(_: TokenStream, item: TokenStream) -> TokenStream {
    without_pin(item)
}

fn without_pin(tokens: TokenStream) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if is_pin(&group) && is_hash(out.last()) => {
                out.pop();
            }
            TokenTree::Group(group) => {
                let inner = without_pin(group.stream());
                let mut new = Group::new(group.delimiter(), inner);
                new.set_span(group.span());
                out.push(new.into());
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}

fn is_pin(group: &Group) -> bool {
    group.stream().to_string() == "pin"
}

fn is_hash(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == '#')
}
