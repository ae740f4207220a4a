//! Delivery status notifications: which of our mails they speak of, and what became of it. Pure.
