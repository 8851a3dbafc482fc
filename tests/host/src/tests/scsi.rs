// SPDX-License-Identifier: GPL-2.0
//! Tests of `srp/wire/scsi.rs`.

use crate::srp::wire::scsi::*;

/// Key, additional sense code and its qualifier are where SPC-4 has them in fixed format.
#[test]
fn sense_data() {
    for (sense, expected) in [
        (&sense::COMMUNICATION_FAILURE, (0x02, 0x08, 0x00)),
        (&sense::INVALID_CDB, (0x05, 0x24, 0x00)),
        (&sense::LBA_OUT_OF_RANGE, (0x05, 0x21, 0x00)),
        (&sense::INVALID_MESSAGE, (0x05, 0x49, 0x00)),
        (&sense::INVALID_IU, (0x05, 0x0e, 0x03)),
        (&sense::LUNS_CHANGED, (0x06, 0x3f, 0x0e)),
    ] {
        assert_eq!((sense[2], sense[12], sense[13]), expected);
        // Current, and as many bytes behind the eighth as it says.
        assert_eq!((sense[0], usize::from(sense[7]) + 8), (0x70, sense.len()));
    }
}

/// The same as for the statics, at run time.
#[test]
fn fixed_format() {
    assert_eq!(sense::fixed(0x05, 0x24, 0x00), sense::INVALID_CDB);
}
