//! Mail: a real Postfix before the gateway and behind it, and programs that send as people and as machines do.

mod peers_themselves;
