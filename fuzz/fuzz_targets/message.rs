//! A datagram, read in every way the TURN core reads one.
#![no_main]

use bimcc_rtc::turn::message::{Request, Response, SendIndication};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = SendIndication::decode(bytes);
    if let Ok(mut request) = Request::decode(bytes) {
        let _ = request.integrity_is(&[0; 16]);
        let _ = (request.requested_transport(), request.lifetime(), request.channel_number());
        let _ = (request.requested_family(), request.username(), request.realm(), request.nonce());
        request.peers().for_each(drop);
        let answer = Response::error(&request, 420).unknown_attributes(&request.unknown_attributes()).finish();
        assert!(Request::decode(&answer).is_err(), "an answer is no request");
    }
});
