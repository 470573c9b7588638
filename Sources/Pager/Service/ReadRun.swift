// Reading several pages by one call, and giving them to a client by one message.
//
// A request for several pages leaves a job for each of them (Requests.swift). Where the translator has pager_read_pages, the first takes
// those of the pages behind it along, as far as they are next in the queue: the order of callbacks is as it was. The pages that were read
// are decided one by one, as ever; neighbours whose answer is the same and for one client leave in one `data_supply`.
//
// Guarantee: whatever cannot be had this way (no such callback, a failure, no memory, another answer) is done page by page.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Pages that are read by one call at the most.
    static var readLimit: Int { 64 }

    /// The callback of this job, and of those that it takes along. The executor is held for it.
    @inline(never)
    func readPages(_ first: JobPointer) {
        let count = pointee.readsSingly.load(ordering: .relaxed) != 0 || first.pointee.isSingle ? 1 : takeReads(first)
        callOthers()
        guard let job = count > 1 ? readRun(first, count) : first else { return }
        // What is left is done singly: one here, the others in their old place.
        var rest = job.pointee.next
        while let one = rest {
            one.pointee.isSingle = true
            rest = one.pointee.next
        }
        leaveRest(job)
        if count > 1 { callOthers() }
        follow(.read, call(taken(job)))
    }

    /// Where several reads may run at once, another worker is to look for those that wait behind this one.
    private func callOthers() {
        let reads = pointee.concurrentReads.load(ordering: .relaxed)
        guard reads > 1, let worker = Worker.current else { return }
        pointee.monitor.lock()
        let mayStart = locked.pointee.jobs.first.map {
            Executor.mayStart($0.pointee.action, pointee.executor.load(ordering: .acquiring), reads: reads, seated: takenSeats)
        } ?? false
        pointee.monitor.unlock()
        if !mayStart { return }
        worker.pointee.pool.leaveWork(self)
        worker.pointee.pool.callReceiver()
    }

    /// What the job is for. It is freed.
    private func taken(_ job: JobPointer) -> NextCall {
        let next = NextCall(action: .read, page: job.pointee.page, hadHolders: job.pointee.hadHolders)
        Memory.free(job)
        return next
    }

    /// Takes the reads of the pages behind the first one's out of the queue and links them to it. How many there are with the first.
    private func takeReads(_ first: JobPointer) -> Int {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        var last = first, count = 1
        while count < PagerPointer.readLimit, let next = locked.pointee.jobs.first, next.pointee.action == .read,
              !next.pointee.isSingle, next.pointee.page == last.pointee.page + 1, !locked.pointee.aside.covers(next.pointee.page) {
            locked.pointee.jobs.remove(next)
            last.pointee.next = next
            last = next
            count += 1
        }
        noteWaitingLocked()
        return count
    }

    /// Reads the pages of the linked jobs by one call. What of the jobs is left to be done singly.
    private func readRun(_ first: JobPointer, _ count: Int) -> JobPointer? {
        guard let outcomes = Memory.allocate(Outcome.self, count) else { return first }
        defer { Memory.free(outcomes) }
        let start = first.pointee.page
        var (buffer, bytes, writeLock): (vm_address_t, vm_size_t, Int32) = (0, 0, 0)
        let length = vm_size_t(widen(count) << pointee.pageShift)
        var code = inCallback(.read, start...start + widen(count - 1)) { _ in
            pager_read_pages(pointee.user, offset(start), length, &buffer, &bytes, &writeLock)
        }
        // A success is taken at its word for what it names, and no further.
        var pages = Int(truncatingIfNeeded: UInt64(min(bytes, length)) >> pointee.pageShift)
        if code == Errno.notSupported && pages == 0 {
            // What a translator does not have it does not get later either.
            pointee.readsSingly.store(1, ordering: .relaxed)
            return first
        }
        if pages > 0 && (buffer == 0 || UInt64(buffer) & (pageSize - 1) != 0) {
            refuse(buffer == 0 ? .noBuffer : .unalignedBuffer, UInt64(offset(start)), UInt64(buffer))
            (code, pages) = (Errno.io, 0)
        }
        pointee.counters.pageIns.increment(UInt(pages))
        var left: JobPointer? = first
        for index in 0..<pages {
            guard let job = left else { break }
            left = job.pointee.next
            let next = taken(job)
            (outcomes + index).initialize(to: transition(next.page, .readDone(code: 0, writeLock: writeLock != 0),
                                                         context(hadHolders: next.hadHolders)))
        }
        answer(start, outcomes, pages, buffer)
        if code != 0, let job = left {
            left = job.pointee.next
            let next = taken(job)
            pointee.counters.pageIns.increment()
            follow(.read, advance(next.page, transition(next.page, .readDone(code: code, writeLock: false),
                                                        context(hadHolders: next.hadHolders)), 0))
        }
        return left
    }

    /// Does what was decided for pages that were read, whose data lie one behind the other. What they need next of the translator is left as jobs: in a
    /// callback that waits, somebody may wait for requests that were decided on for the pages behind, and are not sent yet (LockBatches.swift).
    private func answer(_ first: UInt64, _ outcomes: UnsafeMutablePointer<Outcome>, _ count: Int, _ data: vm_address_t) {
        var index = 0
        while index < count {
            var end = index + 1
            if outcomes[index].isPlainSupply {
                while end < count && outcomes[end].isPlainSupply && outcomes[end].isAnswerAlike(outcomes[index], pointee.descriptors) {
                    end += 1
                }
            }
            let page = first + widen(index), address = data + vm_address_t(widen(index) << pointee.pageShift)
            if end - index > 1, supplyRun(page, outcomes + index, end - index, address) {
                for done in index..<end { followLater(first + widen(done), advance(first + widen(done), outcomes[done], 0)) }
            } else {
                for one in index..<end {
                    let address = data + vm_address_t(widen(one) << pointee.pageShift)
                    followLater(first + widen(one), advance(first + widen(one), outcomes[one], address))
                }
            }
            index = end
        }
    }

    /// One `data_supply` for all; the outcomes are those of `sent` then. false: nothing was done.
    private func supplyRun(_ first: UInt64, _ outcomes: UnsafeMutablePointer<Outcome>, _ count: Int, _ data: vm_address_t) -> Bool {
        let effects = outcomes[0].effects
        let number = outcomes[0].answered(at: 0, pointee.descriptors)
        let client = pointee.clients.client(number)
        if !client.acquire() { return false }
        defer { release(client) }
        for index in 0..<count where !outcomes[index].means(client, first + widen(index), self) { return false }

        let phase = beginAnswers()
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 {
            for index in 0..<count { noteGiven(number, first + widen(index)) }
        }
        let size = mach_msg_type_number_t(truncatingIfNeeded: widen(count) << pointee.pageShift)
        let delivery = send(number, first) {
            pager_control_memory_object_data_supply($0, offset(first), data, size, 1, effects.write ? 0 : VM_PROT_WRITE,
                                                    effects.precious ? 1 : 0, 0)
        }
        if delivery == .sent { pointee.counters.supplies.increment() }
        if delivery == .refused { freePages(data, widen(count)) }
        for index in 0..<count {
            outcomes[index] = transition(first + widen(index), .sent, context(hadHolders: outcomes[index].effects.holders))
        }
        endAnswers(phase)
        return true
    }
}

extension Outcome {
    /// Data for one client, and nothing else.
    fileprivate var isPlainSupply: Bool {
        effects.action == .supply && answeredCount == 1 && effects.data == .used && effects.refusal == .none && !holds
    }

    /// Both are plain supplies.
    fileprivate func isAnswerAlike(_ other: Outcome, _ table: DescriptorTable) -> Bool {
        answered(at: 0, table) == other.answered(at: 0, table) && effects.write == other.effects.write
            && effects.precious == other.effects.precious
    }
}
