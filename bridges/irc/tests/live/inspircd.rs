//! InspIRCd
