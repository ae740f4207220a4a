//! Takes mails out of the spool, one after another, and reports them to the gateway.
