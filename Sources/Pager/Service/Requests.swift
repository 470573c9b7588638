// `data_request` and `data_unlock`: clients want pages.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Pages in one message. A kernel asks for one; a hostile one must not keep us busy with 2^50.
    static var requestLimit: UInt64 { 1024 }

    /// The pages of a message's range; nil: it is not one of whole pages (counted and logged).
    @inline(__always)
    func wholePages(_ offset: vm_offset_t, _ length: vm_size_t) -> ClosedRange<UInt64>? {
        let mask = vm_offset_t(truncatingIfNeeded: pageSize - 1)
        let (last, overflow) = offset.addingReportingOverflow(length &- 1)
        if (offset | length) & mask != 0 || length == 0 || overflow { return refuseRange(offset, length, mask) }
        return page(offset)...page(last)
    }

    @inline(never)
    private func refuseRange(_ offset: vm_offset_t, _ length: vm_size_t, _ mask: vm_offset_t) -> ClosedRange<UInt64>? {
        let reason: RefusalReason = (offset | length) & mask != 0 ? .misaligned : length == 0 ? .badLength : .badRange
        refuse(reason, UInt64(offset), UInt64(length))
        return nil
    }

    @inline(__always)
    func takeRequest(_ client: ClientPointer, _ offset: vm_offset_t, _ length: vm_size_t, write: Bool) {
        guard let pages = wholePages(offset, length) else { return answerBadRequest(client, offset, length) }
        if pages.upperBound - pages.lowerBound >= PagerPointer.requestLimit {
            refuse(.badLength, UInt64(offset), UInt64(length))
            return answerBadRequest(client, offset, length)
        }
        if pointee.closing.load(ordering: .acquiring) != 0 {
            refuse(.closing, UInt64(offset))
            return answerError(client, offset, length, Errno.io)
        }
        let event = Event.request(client.pointee.number, write: write)
        if pages.lowerBound != pages.upperBound { return takeSeveral(client, pages, event) }
        let excluding = beginTaking()
        if !excluding && requestShared(client, pages.lowerBound, offset, event) { return }
        let outcome = transition(pages.lowerBound, event, context(isOffered: excluding))
        endTaking(excluding)
        if outcome.isExhausted {
            refuse(.noMemory, UInt64(offset))
            return answerError(client, offset, length, Errno.noMemory)
        }
        let number = client.pointee.number
        takenIn(pages.lowerBound, outcome)
        forgetIfGone(number, pages.lowerBound)
    }

    /// A request of nobody that is known; the message's reference to the control port is released. A shutdown ends with the clients, and then the port: who
    /// asks in between is answered all the same, or his threads wait for ever.
    func takeForgottenRequest(_ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t) {
        let isClosing = pointee.closing.load(ordering: .acquiring) != 0
        if !isClosing { _ = mach_port_deallocate(mach_task_self(), control) }
        takenIn()
        if !isClosing { return }
        pointee.counters.errors.increment()
        sendToStranger(offset) { pager_control_memory_object_data_error(control, offset, length, Errno.io) }
        _ = mach_port_deallocate(mach_task_self(), control)
    }

    @inline(__always)
    func takeUnlock(_ client: ClientPointer, _ offset: vm_offset_t, _ length: vm_size_t) {
        guard let pages = wholePages(offset, length) else { return takenIn() }
        if pages.upperBound - pages.lowerBound >= PagerPointer.requestLimit {
            refuse(.badLength, UInt64(offset), UInt64(length))
            return takenIn()
        }
        let number = client.pointee.number
        if pages.lowerBound != pages.upperBound { return takeSeveral(client, pages, .unlock(number)) }
        let outcome = transition(pages.lowerBound, .unlock(number), context())
        if outcome.effects.refusal != .none {
            takenIn()
            return refuse(outcome.effects.refusal, pages.lowerBound, number)
        }
        takenIn(pages.lowerBound, outcome)
    }

    /// Requests or unlocks of several pages in one message. All are decided while it is the message's turn, and the callbacks left as jobs
    /// in the order of the pages: nothing that comes later overtakes a part of it. The answers follow.
    @inline(never)
    private func takeSeveral(_ client: ClientPointer, _ pages: ClosedRange<UInt64>, _ event: Event) {
        let number = client.pointee.number
        let count = Int(truncatingIfNeeded: pages.upperBound - pages.lowerBound) + 1
        guard let outcomes = Memory.allocate(Outcome.self, count) else {
            refuse(.noMemory, UInt64(offset(pages.lowerBound)))
            if case .unlock = event { return takenIn() }
            return answerError(client, offset(pages.lowerBound), vm_size_t(truncatingIfNeeded: widen(count) << pointee.pageShift),
                               Errno.noMemory)
        }
        let isKnown = client.acquire()
        pointee.answering.wrappingAdd(1, ordering: .sequentiallyConsistent)
        let excluding = beginTaking()
        for index in 0..<count {
            let page = pages.lowerBound + widen(index), outcome = transition(page, event, context(isOffered: excluding))
            (outcomes + index).initialize(to: outcome)
            // (Nothing else is to be done for it.)
            if let next = outcome.callback(page) { followLater(page, next) }
        }
        endTaking(excluding)
        takenIn()
        for index in 0..<count {
            let page = pages.lowerBound + widen(index), outcome = outcomes[index]
            if outcome.isExhausted {
                refuse(.noMemory, UInt64(offset(page)))
                if isKnown { sendError(number, offset(page), vm_size_t(pageSize), Errno.noMemory) }
            } else if outcome.effects.refusal != .none {
                refuse(outcome.effects.refusal, page, number)
            } else if outcome.callback(page) == nil {
                followLater(page, advance(page, outcome, 0))
            }
            forgetIfGone(number, page)
        }
        pointee.answering.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        if isKnown { release(client) }
        Memory.free(outcomes)
        runJobs()
    }

    /// The error is for the whole pages that the range touches (for an empty range: the one at its start), up to the last.
    @inline(never)
    private func answerBadRequest(_ client: ClientPointer, _ offset: vm_offset_t, _ length: vm_size_t) {
        let pages = self.pages(offset, length) ?? page(offset)...page(offset)
        let bytes = (pages.upperBound - pages.lowerBound) << pointee.pageShift
        // The length of all there is does not fit.
        let (whole, overflow) = vm_size_t(truncatingIfNeeded: bytes).addingReportingOverflow(vm_size_t(pageSize))
        answerError(client, self.offset(pages.lowerBound), overflow ? vm_size_t(bytes) : whole, Errno.invalid)
    }

    /// An error for a message at hand that no page knows of: a shutdown that ends meanwhile waits for it. (The client's number may be
    /// another's as soon as the turn has passed.)
    @inline(never)
    private func answerError(_ client: ClientPointer, _ offset: vm_offset_t, _ length: vm_size_t, _ code: Int32) {
        pointee.answering.wrappingAdd(1, ordering: .sequentiallyConsistent)
        let isKnown = client.acquire()
        takenIn()
        if isKnown {
            sendError(client.pointee.number, offset, length, code)
            release(client)
        }
        pointee.answering.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }
}
