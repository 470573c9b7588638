// Returned pages on their way to the backing store.
//
// Each dirty page that cannot be written by the very thread that received it becomes a *version*: a `.write` job of the object's
// queue, and the newest one of its page also an entry of `VersionIndex`, where others find the data without the store.
//
// Guarantees:
//   W1  Versions of a page are written in the order in which they came; one that was not begun when a newer one
//       comes is skipped (the newer one takes its place).
//   W2  Two writes of a page never overlap: writes are callbacks that exclude each other (Executor.swift).
//   W3  The page's word says `held` exactly while the index has a version of it. Both change under the lock.
//   W4  The data of a version stays until nobody writes it, sends it, or may ask for it.

import CPlatform
import Synchronization

/// Locked.
struct VersionIndex {
    private var index = HashIndex()
    /// Versions that wait or are being written: what a waiting `pager_sync` looks at.
    private var newestUnfinished: JobPointer?
    private(set) var unfinished = 0

    mutating func destroy() { index.destroy() }

    func newest(_ page: UInt64) -> JobPointer? {
        guard let link = index.find(page) else { return nil }
        return UnsafeMutableRawPointer(link).assumingMemoryBound(to: Job.self)
    }

    mutating func insert(_ version: JobPointer) {
        assert(newest(version.pointee.page) == nil)
        version.pointee.isNewest = true
        version.pointee.references += 1
        index.insert(UnsafeMutableRawPointer(version).assumingMemoryBound(to: HashLink.self), version.pointee.page)
    }

    mutating func remove(_ version: JobPointer) {
        version.pointee.isNewest = false
        index.remove(UnsafeMutableRawPointer(version).assumingMemoryBound(to: HashLink.self))
    }

    mutating func begin(_ version: JobPointer) {
        unfinished += 1
        version.pointee.olderUnfinished = newestUnfinished
        if let older = newestUnfinished { older.pointee.newerUnfinished = version }
        newestUnfinished = version
    }

    mutating func end(_ version: JobPointer) {
        unfinished -= 1
        let older = version.pointee.olderUnfinished, newer = version.pointee.newerUnfinished
        if let older { older.pointee.newerUnfinished = newer }
        if let newer { newer.pointee.olderUnfinished = older } else { newestUnfinished = older }
        version.pointee.olderUnfinished = nil
        version.pointee.newerUnfinished = nil
    }

    func isUnfinished(in pages: ClosedRange<UInt64>) -> Bool {
        var version = newestUnfinished
        while let current = version {
            if pages.contains(current.pointee.page) { return true }
            version = current.pointee.olderUnfinished
        }
        return false
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Pages that are written by one call at the most.
    static var runLimit: Int { 64 }

    /// Pages that may wait to be written before a worker that brings more helps to get rid of them.
    static var versionLimit: Int { 8192 }

    /// The data at `address` is the newest version of the page. Locked. `version`: an empty record for it.
    func storeLocked(_ version: JobPointer, _ address: vm_address_t) {
        version.pointee.address = address
        if let old = locked.pointee.versions.newest(version.pointee.page) {
            locked.pointee.versions.remove(old)
            if old.pointee.state == .waiting {
                // Its place in the queue goes to the newer one (W1).
                locked.pointee.jobs.remove(old)
                locked.pointee.versions.end(old)
                pointee.counters.skippedWrites.increment()
                releaseVersionLocked(old)
            }
            releaseVersionLocked(old)
        }
        locked.pointee.versions.insert(version)
        version.pointee.references += 1
        locked.pointee.versions.begin(version)
        enqueueLocked(version)
    }

    /// The page's version is not needed any more (or is superseded). Locked.
    func dropHeldLocked(_ page: UInt64) {
        guard let version = locked.pointee.versions.newest(page) else { return }
        locked.pointee.versions.remove(version)
        releaseVersionLocked(version)
    }

    /// The data and the record go with the last reference: as soon as the lock is let go (`unlock`), since giving
    /// memory back is a message to the kernel.
    func releaseVersionLocked(_ version: JobPointer) {
        version.pointee.references -= 1
        if version.pointee.references > 0 { return }
        assert(!version.pointee.isNewest)
        version.pointee.next = locked.pointee.garbage
        locked.pointee.garbage = version
    }

    /// Lets the pager's lock go where versions may have been released under it.
    func unlock() {
        var version = locked.pointee.garbage
        locked.pointee.garbage = nil
        pointee.monitor.unlock()
        var data = Discarded(pager: self)
        while let old = version {
            version = old.pointee.next
            data.add(old.pointee.address)
            Memory.free(old)
        }
        data.free()
    }

    /// The newest version of a held page, with a reference, so that it can be sent whatever becomes of it. Locked.
    func pinHeldLocked(_ page: UInt64) -> JobPointer? {
        // W3: the word says `held`, so there is one.
        guard let version = locked.pointee.versions.newest(page) else { return nil }
        version.pointee.references += 1
        return version
    }

    func freePages(_ address: vm_address_t, _ count: UInt64) {
        if address != 0 { _ = vm_deallocate(mach_task_self(), address, vm_size_t(count << pointee.pageShift)) }
    }

    /// Writes this version, and with it the waiting ones of the pages that follow, if the translator can write several at once.
    /// The executor is held.
    func writeVersions(_ first: JobPointer) {
        pointee.monitor.lock()
        let (count, adjoin) = takeRunLocked(first)
        pointee.monitor.unlock()

        let gathered = adjoin ? 0 : gather(first, count)
        if !adjoin && gathered == 0 { return finishEach(first) }
        var run = WriteRun(pager: self, page: first.pointee.page, address: adjoin ? first.pointee.address : gathered,
                           count: count)
        finish(first, &run)
        freePages(gathered, UInt64(count))
    }

    /// Takes the waiting versions of the pages behind the first one's out of the queue and links them to it through `next`, which the queue
    /// does not need any more. How many there are with the first, and whether their data lie one behind the other. Locked.
    private func takeRunLocked(_ first: JobPointer) -> (count: Int, adjoin: Bool) {
        var last = first, count = 1, adjoin = true
        let limit = pointee.writesSingly.load(ordering: .relaxed) != 0 ? 1 : PagerPointer.runLimit
        while count < limit, let next = locked.pointee.versions.newest(last.pointee.page + 1),
              next.pointee.state == .waiting {
            if next.pointee.address != last.pointee.address + vm_address_t(pageSize) { adjoin = false }
            locked.pointee.jobs.remove(next)
            next.pointee.state = .writing
            last.pointee.next = next
            last = next
            count += 1
        }
        if locked.pointee.jobs.isEmpty {
            pointee.executor.bitwiseAnd(~Executor.waiting, ordering: .acquiringAndReleasing)
        }
        return (count, adjoin)
    }

    /// A copy of the run's data in one piece. 0: there is no memory for it. (Pages that come back one by one, as a kernel short of memory
    /// sends them, lie anywhere; a copy costs less than a call of the store.)
    private func gather(_ first: JobPointer, _ count: Int) -> vm_address_t {
        var address: vm_address_t = 0
        if vm_allocate(mach_task_self(), &address, vm_size_t(widen(count) << pointee.pageShift), 1) != 0 { return 0 }
        var target = address
        forEach(first) { version in
            copyPage(version.pointee.address, to: target)
            target += vm_address_t(pageSize)
        }
        return address
    }

    private func copyPage(_ source: vm_address_t, to target: vm_address_t) {
        guard let from = UnsafeRawPointer(bitPattern: UInt(source)), let to = UnsafeMutableRawPointer(bitPattern: UInt(target))
        else { return }
        to.copyMemory(from: from, byteCount: Int(pageSize))
    }

    private func finishEach(_ first: JobPointer) {
        var version: JobPointer? = first
        while let current = version {
            version = current.pointee.next
            current.pointee.next = nil
            var one = WriteRun(pager: self, page: current.pointee.page, address: current.pointee.address, count: 1)
            finish(current, &one)
        }
    }

    private func forEach(_ first: JobPointer, _ body: (JobPointer) -> Void) {
        var version: JobPointer? = first
        while let current = version {
            version = current.pointee.next
            body(current)
        }
    }

    /// Writes the versions that are linked to the first one: tells their pages, wakes who waits for the store. What was written by one
    /// call is reported in one hold of the lock, up to a page that needs something done.
    private func finish(_ first: JobPointer, _ run: inout WriteRun) {
        var version: JobPointer? = first
        while version != nil {
            var (due, page): (Outcome?, UInt64) = (nil, 0)
            var code = run.writeNext()
            pointee.monitor.lock()
            while let current = version {
                version = current.pointee.next
                page = current.pointee.page
                let outcome = finishLocked(current, code)
                if let outcome, outcome.effects.action != .none || outcome.effects.refusal != .none {
                    due = outcome
                    break
                }
                if !run.isNextWritten { break }
                code = run.writeNext()
            }
            if pointee.writeWaiters.load(ordering: .relaxed) != 0 { pointee.monitor.wakeAll() }
            unlock()
            if let due { follow(.write, advance(page, due, 0)) }
        }
    }

    /// The version was written (or not). Locked. What follows for its page.
    private func finishLocked(_ version: JobPointer, _ code: Int32) -> Outcome? {
        version.pointee.next = nil
        version.pointee.state = .finished
        version.pointee.code = code
        locked.pointee.versions.end(version)
        var outcome: Outcome?
        if version.pointee.isNewest {
            outcome = transitionLocked(version.pointee.page, .writtenBack(code: code), context())
        }
        releaseVersionLocked(version)
        return outcome
    }
}

/// Pages that are not needed any more: neighbours in memory are given back together.
struct Discarded {
    let pager: PagerPointer
    private var start: vm_address_t = 0
    private var count: UInt64 = 0

    init(pager: PagerPointer) { self.pager = pager }

    mutating func add(_ address: vm_address_t) {
        let page = vm_address_t(pager.pageSize)
        if count != 0 && address == start + vm_address_t(count << pager.pointee.pageShift) {
            count += 1
        } else if count != 0 && address == start - page {
            start = address
            count += 1
        } else {
            free()
            start = address
            count = 1
        }
    }

    mutating func free() {
        if count != 0 { pager.freePages(start, count) }
        count = 0
    }
}
