//! The registry of all figures: makes a family, with its name, its help and its labels, and prints them all as
//! Prometheus reads them.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

/// Before each name.
const PREFIX: &str = "deskbridge";

const WELL_FORMED: &str = "names, labels and buckets of ours are well formed, and each is used once";

#[derive(Clone)]
pub(super) struct Families(Registry);

impl Families {
    pub(super) fn new() -> Self {
        Self(Registry::new_custom(Some(PREFIX.to_owned()), None).expect(WELL_FORMED))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.with(IntCounter::with_opts(Opts::new(name, help)))
    }
    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.with(IntCounterVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.with(IntGauge::with_opts(Opts::new(name, help)))
    }
    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.with(IntGaugeVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn real_gauge(&self, name: &str, help: &str) -> Gauge {
        self.with(Gauge::with_opts(Opts::new(name, help)))
    }
    pub(super) fn real_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.with(GaugeVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.with(HistogramVec::new(options(name, help, buckets), labels))
    }

    /// One that was made elsewhere is printed with the others.
    pub(super) fn add(&self, histogram: Histogram) {
        self.with(Ok(histogram));
    }

    fn with<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect(WELL_FORMED);
        self.0.register(Box::new(collector.clone())).expect(WELL_FORMED);
        collector
    }

    pub(super) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).expect("a text takes whatever is printed")
    }
}

/// A histogram that no family holds yet.
pub(super) fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    Histogram::with_opts(options(name, help, buckets)).expect(WELL_FORMED)
}

fn options(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(buckets.to_vec())
}
