// Returned pages on their way to the backing store.
//
// Each dirty page that cannot be written by the very thread that received it becomes a *version*: a `.write` job of the object's
// queue, and the newest one of its page also an entry of `VersionIndex`, where others find the data without the store. (Where nothing runs or waits
// the queue is left out: the thread that took the page in writes the version at once.)
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

    /// This is the newest version of its page. It is to be queued, or written by the caller. Locked.
    func storeLocked(_ version: JobPointer) {
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

    /// A record for a version. Locked; while there is no memory for it the lock is let go.
    @inline(__always)
    func takeSpareLocked() -> JobPointer {
        guard let spare = locked.pointee.spareVersion else { return makeVersionLocked() }
        locked.pointee.spareVersion = nil
        return spare
    }

    @inline(never)
    private func makeVersionLocked() -> JobPointer {
        pointee.monitor.unlock()
        // (It waits.)
        let version = Memory.allocate(Job.self, 1, .waits).unsafelyUnwrapped
        pointee.monitor.lock()
        return version
    }

    /// The record was not used. It is to be freed, without the lock, if it comes back. Locked.
    func giveSpareLocked(_ version: JobPointer) -> JobPointer? {
        if locked.pointee.spareVersion != nil { return version }
        locked.pointee.spareVersion = version
        return nil
    }

    /// Lets the pager's lock go where versions may have been released under it.
    @inline(__always)
    func unlock() {
        if let garbage = locked.pointee.garbage { unlockFreeing(garbage) } else { pointee.monitor.unlock() }
    }

    @inline(never)
    private func unlockFreeing(_ garbage: JobPointer) {
        var version: JobPointer? = garbage
        locked.pointee.garbage = nil
        var unneeded = UnneededPages(pager: self)
        if let first = version, locked.pointee.spareVersion == nil {
            unneeded.add(first.pointee.address)
            version = first.pointee.next
            locked.pointee.spareVersion = first
        }
        pointee.monitor.unlock()
        while let old = version {
            version = old.pointee.next
            unneeded.add(old.pointee.address)
            Memory.free(old)
        }
        unneeded.giveBack()
    }

    /// Writes a version that is not in the queue. The executor is held.
    @inline(__always)
    func writeVersion(_ version: JobPointer) {
        let page = version.pointee.page
        let next = inCallback(.write, page...page) { _ in
            let code = pager_write_page(pointee.user, offset(page), version.pointee.address)
            if code == 0 { pointee.counters.pageOuts.increment() }
            pointee.monitor.lock()
            let outcome = finishLocked(version, code)
            pointee.monitor.wakeAll()
            unlock()
            return outcome.isDue ? advance(page, outcome, 0) : nil
        }
        follow(.write, next)
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
        var (last, count, adjoin) = takeRunLocked(first)
        pointee.monitor.unlock()
        var address = first.pointee.address
        let gathered = adjoin ? 0 : gather(first, count)
        if gathered != 0 {
            address = gathered
        } else if !adjoin {
            // No memory to gather them in: the first by itself.
            leaveRest(first)
            (last, count) = (first, 1)
        }
        writeRun(first, last, WriteRun(pager: self, page: first.pointee.page, address: address, count: count))
        freePages(gathered, UInt64(count))
    }

    /// Takes the waiting versions of the pages behind the first one's out of the queue and links them to it through `next`, which the queue
    /// does not need any more. The last, how many there are with the first, and whether their data lie one behind the other. Locked.
    private func takeRunLocked(_ first: JobPointer) -> (last: JobPointer, count: Int, adjoin: Bool) {
        var last = first, count = 1, adjoin = true
        first.pointee.next = nil
        let limit = pointee.writesSingly.load(ordering: .relaxed) != 0 ? 1 : PagerPointer.runLimit
        while count < limit, let next = locked.pointee.versions.newest(last.pointee.page + 1),
              next.pointee.state == .waiting, !locked.pointee.aside.covers(next.pointee.page) {
            if next.pointee.address != last.pointee.address + vm_address_t(pageSize) { adjoin = false }
            locked.pointee.jobs.remove(next)
            next.pointee.state = .writing
            next.pointee.next = nil
            last.pointee.next = next
            last = next
            count += 1
        }
        noteWaitingLocked()
        return (last, count, adjoin)
    }

    /// The jobs that are linked to this one go back to the head of the queue.
    func leaveRest(_ first: JobPointer) {
        pointee.monitor.lock()
        if let rest = first.pointee.next {
            first.pointee.next = nil
            locked.pointee.jobs.prepend(rest)
            pointee.executor.bitwiseOr(Executor.waiting, ordering: .acquiringAndReleasing)
        }
        pointee.monitor.unlock()
    }

    /// A copy of the run's data in one piece. 0: there is no memory for it. (Pages that come back one by one, as a kernel short of memory
    /// sends them, lie anywhere; a copy costs less than a call of the store.)
    private func gather(_ first: JobPointer, _ count: Int) -> vm_address_t {
        var address: vm_address_t = 0
        if vm_allocate(mach_task_self(), &address, vm_size_t(widen(count) << pointee.pageShift), 1) != 0 { return 0 }
        var target = address
        var version: JobPointer? = first
        while let current = version {
            if let from = UnsafeRawPointer(bitPattern: UInt(current.pointee.address)),
               let to = UnsafeMutableRawPointer(bitPattern: UInt(target)) {
                to.copyMemory(from: from, byteCount: Int(pageSize))
            }
            target += vm_address_t(pageSize)
            version = current.pointee.next
        }
        return address
    }

    private func writeRun(_ first: JobPointer, _ last: JobPointer, _ whole: WriteRun) {
        var run = whole
        inCallback(.write, first.pointee.page...last.pointee.page) { callback in
            callback.pointee.rest = first
            while let current = callback.pointee.rest {
                callback.pointee.rest = current.pointee.next
                callback.pointee.pages = current.pointee.page...last.pointee.page
                current.pointee.next = nil
                let code = run.writeNext(callback)
                let next = finishVersions(current, code, &run, callback)
                // Where the rest is written already, but not told, what follows must not wait for it.
                if callback.pointee.rest == nil || callback.pointee.mayLeaveRest {
                    follow(.write, next)
                } else if let next {
                    followLater(next.page, next)
                }
            }
        }
    }

    /// The version was written (or not): tells the page, wakes who waits for the store. Those behind it that were written by the same call are
    /// told in the same hold of the lock, up to a page that needs something done. Returns what that page needs next.
    private func finishVersions(_ first: JobPointer, _ firstCode: Int32, _ run: inout WriteRun,
                                _ callback: CallbackPointer) -> NextCall? {
        var version = first, code = firstCode
        pointee.monitor.lock()
        while true {
            let page = version.pointee.page
            let outcome = finishLocked(version, code)
            guard !outcome.isDue, run.isNextWritten, let next = callback.pointee.rest else {
                pointee.monitor.wakeAll()
                unlock()
                return outcome.isDue ? advance(page, outcome, 0) : nil
            }
            callback.pointee.rest = next.pointee.next
            callback.pointee.pages = next.pointee.page...callback.pointee.pages.upperBound
            next.pointee.next = nil
            version = next
            code = run.writeNext(callback)
        }
    }

    /// What follows for the page. Locked.
    private func finishLocked(_ version: JobPointer, _ code: Int32) -> Outcome {
        version.pointee.state = .finished
        version.pointee.code = code
        locked.pointee.versions.end(version)
        var outcome = Outcome.nothing
        if version.pointee.isNewest {
            outcome = transitionLocked(version.pointee.page, .writtenBack(code: code), context())
        }
        releaseVersionLocked(version)
        return outcome
    }
}
