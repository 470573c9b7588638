// Writing pages whose data lie one behind the other: pager_write_pages as far as it goes, then page by page.

import CPlatform
import Synchronization

struct WriteRun {
    let pager: PagerPointer
    let page: UInt64
    let address: vm_address_t
    let count: Int

    /// Pages whose fate is known, of which the first `written` are written.
    private var done = 0
    private var written = 0
    /// The page behind `written` could not be written.
    private var failure: Int32 = 0
    /// The translator could not go on with several at once.
    private var single = false

    init(pager: PagerPointer, page: UInt64, address: vm_address_t, count: Int) {
        self.pager = pager
        self.page = page
        self.address = address
        self.count = count
    }

    /// Whether `writeNext` only reports what is written already.
    var isNextWritten: Bool { done < written }

    /// Writes at least the next page. Returns its errno, or 0.
    mutating func writeNext(_ callback: CallbackPointer) -> Int32 {
        callback.pointee.mayLeaveRest = false
        if done == written && failure == 0 && count - done > 1 && !single
            && pager.pointee.writesSingly.load(ordering: .relaxed) == 0 {
            writeSeveral()
        }
        defer { done += 1 }
        if done < written { return 0 }
        if failure != 0 {
            defer { written = done + 1; failure = 0 }
            return failure
        }
        written = done + 1
        callback.pointee.mayLeaveRest = true
        let code = pager_write_page(pager.pointee.user, offset(done), data(done))
        if code == 0 { pager.pointee.counters.pageOuts.increment() }
        return code
    }

    private mutating func writeSeveral() {
        var bytes: vm_size_t = 0
        let length = vm_size_t(widen(count - done) << pager.pointee.pageShift)
        let code = pager_write_pages(pager.pointee.user, offset(done), data(done), length, &bytes)
        // A success is taken at its word for what it names, and no further.
        let pages = Int(truncatingIfNeeded: widen(UInt(min(bytes, length))) >> pager.pointee.pageShift)
        pager.pointee.counters.pageOuts.increment(UInt(pages))
        written = done + pages
        if code == Errno.notSupported {
            single = true
            // What a translator does not have it does not get later either.
            if pages == 0 { pager.pointee.writesSingly.store(1, ordering: .relaxed) }
        } else if written < count {
            failure = code
            if pages == 0 && code == 0 { single = true }
        }
    }

    private func offset(_ index: Int) -> vm_offset_t { pager.offset(page + widen(index)) }
    private func data(_ index: Int) -> vm_address_t { address + vm_address_t(widen(index) << pager.pointee.pageShift) }
}
