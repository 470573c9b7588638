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
        let number = client.pointee.number
        guard let pages = wholePages(offset, length) else { return answerBadRequest(number, offset, length) }
        if pages.upperBound - pages.lowerBound >= PagerPointer.requestLimit {
            refuse(.badLength, UInt64(offset), UInt64(length))
            return answerBadRequest(number, offset, length)
        }
        if pointee.closing.load(ordering: .acquiring) != 0 {
            refuse(.closing, UInt64(offset))
            return answerError(number, offset, length, Errno.io)
        }
        if pointee.offers.load(ordering: .sequentiallyConsistent) != 0 { awaitOffers() }
        // Only the first page is part of the turn: a page that is taken in later than it came is as if it came later.
        let several = pages.lowerBound != pages.upperBound
        if several { pointee.answering.wrappingAdd(1, ordering: .sequentiallyConsistent) }
        defer { if several { pointee.answering.wrappingSubtract(1, ordering: .sequentiallyConsistent) } }
        var page = pages.lowerBound
        while true {
            let outcome = transition(page, .request(number, write: write), context())
            if outcome.exhausted {
                refuse(.noMemory, UInt64(self.offset(page)))
                answerError(number, self.offset(page), vm_size_t(pageSize), Errno.noMemory)
            } else {
                takenIn(page, outcome)
            }
            forgetIfGone(number, page)
            if page == pages.upperBound { return }
            page += 1
        }
    }

    /// The error is for the whole pages that the range touches (for an empty range: the one at its start), up to the last.
    @inline(never)
    private func answerBadRequest(_ client: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t) {
        let pages = self.pages(offset, length) ?? page(offset)...page(offset)
        let bytes = (pages.upperBound - pages.lowerBound) << pointee.pageShift
        // The length of all there is does not fit.
        let (whole, overflow) = vm_size_t(truncatingIfNeeded: bytes).addingReportingOverflow(vm_size_t(pageSize))
        answerError(client, self.offset(pages.lowerBound), overflow ? vm_size_t(bytes) : whole, Errno.invalid)
    }

    /// An error for a message at hand that no page knows of: a shutdown that ends meanwhile waits for it.
    @inline(never)
    private func answerError(_ client: ClientNumber, _ offset: vm_offset_t, _ length: vm_size_t, _ code: Int32) {
        pointee.answering.wrappingAdd(1, ordering: .sequentiallyConsistent)
        takenIn()
        sendError(client, offset, length, code)
        pointee.answering.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }

    @inline(__always)
    func takeUnlock(_ client: ClientPointer, _ offset: vm_offset_t, _ length: vm_size_t) {
        let number = client.pointee.number
        guard let pages = wholePages(offset, length) else { return takenIn() }
        if pages.upperBound - pages.lowerBound >= PagerPointer.requestLimit {
            refuse(.badLength, UInt64(offset), UInt64(length))
            return takenIn()
        }
        var page = pages.lowerBound
        while true {
            let outcome = transition(page, .unlock(number), context())
            if outcome.effects.refusal != .none {
                takenIn()
                refuse(outcome.effects.refusal, page, number)
            } else {
                takenIn(page, outcome)
            }
            if page == pages.upperBound { return }
            page += 1
        }
    }
}
