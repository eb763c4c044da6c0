//! The places of launches that run side by side.

use crate::store::Plan;

/// Where launches run, and what is known of their neighbourhood.
#[derive(Debug, Default)]
pub(super) struct SideBySide {
    pub(super) places: usize,
    /// GPUs of each place, by the driver's numbers; empty for engines without any.
    pub(super) devices: Vec<Vec<u32>>,
    /// What the check of the first launches side by side said.
    pub(super) checked: Option<String>,
    /// Seconds of launches that were set aside since they disturbed each other: they count in the budget.
    pub(super) set_aside_s: f64,
}

impl SideBySide {
    pub(super) fn new(plan: &Plan) -> SideBySide {
        SideBySide { places: plan.in_flight.max(1) as usize, ..SideBySide::default() }
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn devices(&self, place: usize) -> Vec<u32> {
        self.devices.get(place).cloned().unwrap_or_default()
    }
}
