// SPDX-License-Identifier: GPL-2.0
//! Requests of the target itself, in the order of `src/channel/notice.rs`, and the answers to them.
//!
//! See `driver` for what this stands for.

use crate::{
    mutants::Mutant,
    rules::Rule,
    srp::machine::channel::{
        CloseReason,
        State as ChannelState, //
    },
    state::{
        State,
        What,
        Who, //
    },
    world::Config, //
};

/// Tag of the target's requests. There is one at a time; that each has a tag of its own, so that
/// late answers are told from new ones, is left to the host tests.
const TAG: u64 = 1;

impl State {
    /// `answered`: the peer's answer to a request of the target.
    pub(crate) fn answered(&mut self, cfg: &Config, i: usize, notice: usize, who: Who) {
        if self.notices[notice].answered(TAG).is_err() {
            return self.break_off(cfg, i, CloseReason::SpuriousResponse, who);
        }
        if self.gate_closed {
            self.close(cfg, CloseReason::QpError, who);
        } else if cfg.mutant != Mutant::AnswerBufferLost {
            self.posted += 1;
        }
        self.recycle(cfg, i, who);
        self.send_notices(cfg);
        self.idle();
    }

    /// `Credits::wants_credit_request`, as `Flow::carry` asks.
    pub(crate) fn wants_credit_request(&self, cfg: &Config) -> bool {
        let listens = cfg.listens || cfg.mutant == Mutant::AskedTooEarly;
        self.credits.wants_credit_request(listens)
    }

    /// `Channel::send_notices`, up to a post; `next_due`.
    pub(crate) fn send_notices(&mut self, cfg: &Config) {
        if self.chan.state() != ChannelState::Live {
            return;
        }
        let credit = self.wants_credit_request(cfg) && {
            self.notices[0].want();
            self.notices[0].begin(TAG)
        };
        if credit && !cfg.listens && self.credits.outstanding() > 0 {
            self.breaks(Rule::LastResort);
        }
        let notice = match credit {
            true => 0,
            false if self.notices[1].begin(TAG) => 1,
            false => return,
        };
        self.busy += 1;
        self.posting[notice] = Some(self.credits.take_delta() as u8);
    }

    /// `Channel::send_notices`: the post, and what follows. The drop of its `Busy` is in here.
    pub(crate) fn post_notice(&mut self, cfg: &Config, notice: usize, fail: bool) {
        let Some(delta) = self.posting[notice].take() else {
            return;
        };
        let what = [What::Credit, What::Event][notice];
        if self.post(what, delta, fail) {
            self.idle();
            return self.send_notices(cfg);
        }
        self.notices[notice].post_failed();
        let _ = self.credits.undo(i32::from(delta));
        self.close(cfg, CloseReason::QpError, Who::Engine);
        self.idle();
    }
}
