// Giving memory back by runs: each time is a call of the system, so neighbours go together.

import CPlatform

/// Pages that are not needed any more, given back a run at a time: each time is a call of the system.
struct UnneededPages {
    let pager: PagerPointer
    private var address: vm_address_t = 0
    private var count: UInt64 = 0

    init(pager: PagerPointer) { self.pager = pager }

    mutating func add(_ page: vm_address_t) {
        if page == 0 { return }
        if count != 0 && page == address - vm_address_t(pager.pageSize) {
            address = page
        } else if count == 0 || page != address + vm_address_t(count << pager.pointee.pageShift) {
            giveBack()
            address = page
        }
        count += 1
    }

    mutating func giveBack() {
        if count > 0 { pager.freePages(address, count) }
        count = 0
    }
}
