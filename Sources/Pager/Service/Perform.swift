// Doing what the rules decided: answers to clients, lock requests, and, one at a time, the translator's callbacks.
//
//   advance    takes an outcome, sends what it says, reports, and goes on until a callback is needed or nothing is left.
//              Needs neither lock, turn nor executor; the page's word says that this thread owns the page.
//   start      runs a callback if the executor lets it, else leaves a job.
//   work       runs a callback and all jobs that wait behind it.

import CPlatform
import Synchronization

/// The callback that a page needs next.
struct NextCall {
    var action: Action
    var page: UInt64
    var hadHolders: Bool
    /// `.unlock`: the page's data, which are kept at hand meanwhile and are ours; 0: none.
    var data: vm_address_t = 0
}

extension Outcome {
    /// The callback that is all that follows from it, if so.
    @inline(__always)
    func callback(_ page: UInt64) -> NextCall? {
        switch effects.action {
        case .read, .unlock, .notify: return NextCall(action: effects.action, page: page, hadHolders: effects.holders)
        default: return nil
        }
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Does all that follows from an outcome. No lock, no turn is held.
    @inline(__always)
    func perform(_ page: UInt64, _ outcome: Outcome) {
        if let next = advance(page, outcome, 0) { start(next) }
    }

    /// The message at hand is taken in. If a callback comes of it, it gets its place in the order before the turn passes on, so
    /// that callbacks come in the order of the messages; all else is done afterwards.
    @inline(__always)
    func takenIn(_ page: UInt64, _ outcome: Outcome) {
        guard let next = outcome.callback(page) else {
            takenIn()
            return perform(page, outcome)
        }
        if tryClaim(next.action) {
            takenIn()
            work(next)
        } else {
            followLater(page, next)
            takenIn()
            runJobs()
        }
    }

    @inline(__always)
    func start(_ next: NextCall) {
        if tryClaim(next.action) {
            work(next)
        } else {
            startLater(next)
        }
    }

    /// This thread may call the translator, and now: it has the executor.
    @inline(__always)
    func tryClaim(_ action: Action) -> Bool { Worker.mayCallTranslator() && tryStart(action) }

    /// The callback has to wait for its turn, or for a thread that may call the translator.
    @inline(never)
    private func startLater(_ next: NextCall) {
        followLater(next.page, next)
        runJobs()
    }

    /// Somebody must look at the queue: the one who runs does when it ends; nobody runs: this thread, if it may.
    func runJobs() {
        if !Worker.mayCallTranslator() {
            Worker.leaveToOthers(self)
            return
        }
        if let job = takeJob() { work(job) }
    }

    /// Leaves a job for the callback, if there is one, to whoever has the executor, or takes it next.
    func followLater(_ page: UInt64, _ next: NextCall?) {
        guard let next else { return }
        // Somebody waits for this page: the job must be made.
        guard let job = Job.create(next.action, page, hadHolders: next.hadHolders, .waits) else { return }
        job.pointee.address = next.data
        pointee.monitor.lock()
        enqueueLocked(job)
        pointee.monitor.unlock()
    }

    /// The page needs another callback, and this thread has the executor for one of the sort of `held`: calls it at once, unless
    /// others wait for their turn.
    @inline(__always)
    func follow(_ held: Action, _ first: NextCall?) {
        var next = first
        while let current = next {
            if Executor.unit(current.action) != Executor.unit(held)
                || pointee.executor.load(ordering: .relaxed) & Executor.waiting != 0 {
                return followLater(current.page, current)
            }
            next = call(current)
        }
    }

    /// The executor is held for this call.
    @inline(__always)
    func work(_ next: NextCall) {
        follow(next.action, call(next))
        if let job = finish(next.action) { work(job) }
    }

    /// The executor is held for this job.
    @inline(never)
    func work(_ first: JobPointer) {
        var job = first
        while true {
            let action = job.pointee.action
            if action == .write {
                writeVersions(job)
            } else if action == .read {
                readPages(job)
            } else {
                let next = NextCall(action: action, page: job.pointee.page, hadHolders: job.pointee.hadHolders, data: job.pointee.address)
                Memory.free(job)
                follow(action, call(next))
            }
            guard let following = finish(action) else { return }
            job = following
        }
    }

    /// Ends the hold on the executor of a message of returned pages.
    func finishClaim() {
        if let job = finish(.write) { work(job) }
    }

    /// Calls the translator for the page, and does what follows up to the next call.
    @inline(__always)
    func call(_ next: NextCall) -> NextCall? {
        switch next.action {
        case .read: return callRead(next)
        case .unlock:
            let code = inCallback(.unlock, next.page...next.page) { _ in
                pager_unlock_page(pointee.user, offset(next.page))
            }
            return advance(next.page, transition(next.page, .unlockDone(code: code, hasData: next.data != 0),
                                                 context(hadHolders: next.hadHolders)), next.data)
        case .notify:
            inCallback(.notify, next.page...next.page) { _ in pager_notify_evict(pointee.user, offset(next.page)) }
            pointee.counters.evictions.increment()
            return advance(next.page, transition(next.page, .notified, context()), 0)
        default:
            assertionFailure("not a callback")
            return nil
        }
    }

    @inline(__always)
    private func callRead(_ next: NextCall) -> NextCall? {
        var buffer: vm_address_t = 0
        var writeLock: Int32 = 0
        let code = inCallback(.read, next.page...next.page) { _ in
            pager_read_page(pointee.user, offset(next.page), &buffer, &writeLock)
        }
        return afterRead(next, code, writeLock, buffer)
    }

    /// `pager_read_page` returned this.
    @inline(__always)
    func afterRead(_ next: NextCall, _ result: Int32, _ writeLock: Int32, _ read: vm_address_t) -> NextCall? {
        var code = result, buffer = read
        pointee.counters.pageIns.increment()
        if code != 0 {
            // What a failed read left in the buffer is not ours.
            buffer = 0
        } else if buffer == 0 || UInt64(buffer) & (pageSize - 1) != 0 {
            code = refuseBuffer(next.page, &buffer)
        }
        return advance(next.page, transition(next.page, .readDone(code: code, writeLock: writeLock != 0),
                                             context(hadHolders: next.hadHolders)), buffer)
    }

    @inline(never)
    private func refuseBuffer(_ page: UInt64, _ buffer: inout vm_address_t) -> Int32 {
        // An unaligned buffer is not freed: its page may be somebody else's as well.
        refuse(buffer == 0 ? .noBuffer : .unalignedBuffer, UInt64(offset(page)), UInt64(buffer))
        buffer = 0
        return Errno.io
    }

    /// Sends and reports until a callback is needed. `address`: the page's data at hand, which are ours, or 0.
    @inline(__always)
    func advance(_ page: UInt64, _ first: Outcome, _ address: vm_address_t) -> NextCall? {
        var outcome = first
        var data = address
        while true {
            let effects = outcome.effects
            if effects.refusal != .none {
                refuse(effects.refusal, page, effects.client)
            }
            if effects.data == .discard && data != 0 {
                freePages(data, 1)
                data = 0
            }
            let phase: UInt32
            switch effects.action {
            case .none:
                return nil
            case .read, .unlock, .notify:
                assert(data == 0 || effects.action == .unlock)
                return NextCall(action: effects.action, page: page, hadHolders: effects.holders, data: data)
            case .write:
                assertionFailure("a direct write outside of a return")
                return nil
            case .supply:
                phase = beginAnswers()
                supply(page, outcome, data)
                data = 0
            case .supplyHeld:
                phase = beginAnswers()
                supplyHeld(page, outcome)
            case .error:
                phase = beginAnswers()
                refuseAnswered(page, outcome)
            case .grantWrite:
                phase = beginAnswers()
                permitAnswered(page, outcome)
            case .flush, .downgrade:
                askOutstanding(page, outcome)
                return nil
            }
            outcome = transitionSent(page, outcome, hadHolders: effects.holders)
            endAnswers(phase)
        }
    }

    /// Asks every client that is outstanding to give the page up, or to become a reader. One that is gone is not asked: its end
    /// has passed this page already, or will come to it.
    @inline(__always)
    private func askOutstanding(_ page: UInt64, _ outcome: Outcome) {
        if let batch = outcome.batch { sendBatch(batch) } else { askSingly(page, outcome) }
    }

    @inline(never)
    private func askSingly(_ page: UInt64, _ outcome: Outcome) {
        let request = lockRequest(page, outcome.effects)
        outcome.forEachOutstanding(pointee.descriptors) { number in
            if request.flush { pointee.counters.flushes.increment() } else { pointee.counters.downgrades.increment() }
            _ = requestLock(number, request, by: outcome)
        }
        releaseOutcome(outcome)
    }
}
