//! Which file each address belongs to: the loaded objects, recorded when they are first seen.
//!
//! They are in the region, because `/proc/PID/maps` does not exist any more when the process has
//! ended.

use std::sync::atomic::Ordering;

use crate::layout::{Lost, MODULES_MAX, Module};
use crate::notes;
use crate::objects::{self, Object};
use crate::region::Region;

/// Makes sure that the objects behind these addresses are known.
pub(crate) fn know(region: &Region, addresses: &[u64]) {
    for address in addresses {
        if !is_known(region, *address)
            && let Some(object) = objects::find(*address)
        {
            add(region, &object);
        }
    }
}

fn known(region: &Region) -> &[Module] {
    let count = region.header.modules.load(Ordering::Acquire) as usize;
    &region.modules[..count.min(MODULES_MAX)]
}

fn is_known(region: &Region, address: u64) -> bool {
    known(region).iter().any(|module| {
        let start = module.start.load(Ordering::Relaxed);
        (start..module.end.load(Ordering::Relaxed)).contains(&address)
    })
}

fn add(region: &Region, object: &Object) {
    let counter = &region.header.modules;
    let Some(number) = region.claim(counter, MODULES_MAX, Lost::Modules) else {
        return;
    };
    let module = &region.modules[number];
    let name = object.name();
    if name.is_empty() {
        notes::program(&module.path);
    } else {
        for (slot, byte) in module.path.iter().zip(name) {
            slot.store(*byte, Ordering::Relaxed);
        }
    }
    module.bias.store(object.bias, Ordering::Relaxed);
    module.start.store(object.start, Ordering::Relaxed);
    module.end.store(object.end, Ordering::Release);
}
