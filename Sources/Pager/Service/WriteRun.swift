// Writing pages whose data lie one behind the other: pager_write_pages as far as it goes, then page by page.

import CPlatform

struct WriteRun {
    let pager: PagerPointer
    let page: UInt64
    let address: vm_address_t
    let count: Int

    /// Pages whose fate is known, of which the first `written` are written.
    private var done = 0
    private var written = 0
    /// Why the page behind the written ones was not, where several were tried; 0: it was not tried.
    private var failure: Int32 = 0
    /// The translator cannot write several at once, or could not go on.
    private var single = false

    init(pager: PagerPointer, page: UInt64, address: vm_address_t, count: Int) {
        self.pager = pager
        self.page = page
        self.address = address
        self.count = count
    }

    /// Writes at least the next page. Returns its errno, or 0.
    mutating func writeNext(_ callback: CallbackPointer) -> Int32 {
        defer { done += 1 }
        callback.pointee.mayLeaveRest = false
        if done < written { return 0 }
        if failure != 0 {
            defer { failure = 0 }
            return failure
        }
        let left = count - done
        if left > 1 && !single {
            var bytes: vm_size_t = 0
            let length = vm_size_t(UInt64(left) << pager.pointee.pageShift)
            let code = pager_write_pages(pager.pointee.user, offset(done), data(done), length, &bytes)
            let pages = Int(UInt64(min(bytes, length)) >> pager.pointee.pageShift)
            pager.pointee.counters.pageOuts.increment(UInt(pages))
            // A success that does not say how much was written is taken at its word only for what it names.
            written = done + pages
            if pages > 0 {
                if code == Errno.notSupported { single = true } else if pages < left { failure = code }
                return 0
            }
            if code != 0 && code != Errno.notSupported { return code }
            single = true
        }
        callback.pointee.mayLeaveRest = true
        let code = pager_write_page(pager.pointee.user, offset(done), data(done))
        if code == 0 { pager.pointee.counters.pageOuts.increment() }
        return code
    }

    private func offset(_ index: Int) -> vm_offset_t { pager.offset(page + UInt64(index)) }
    private func data(_ index: Int) -> vm_address_t {
        address + vm_address_t(UInt64(index) << pager.pointee.pageShift)
    }
}
