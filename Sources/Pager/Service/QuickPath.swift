// The short way of a lone client's messages: the moves of QuickMoves.swift, one after the other.
//
// Requests go on as all reads of the short way do (ShortRead.swift). Unlocks and returns do what the long way does, in the same order, for one page
// in the usual condition: the page's word by compare-and-swap (whoever fails has done nothing and takes the long way), the executor, the
// turn, the callback, what is to be sent, the word and the executor again. Wherever something is not as usual (the translator failed, somebody
// waits, the client goes), they call what the long way calls, and that goes on from there. No lock is taken and nothing allocated.

import CPlatform
import Synchronization

/// A lone client's page is read: the moves from `asked` on.
struct LoneRead: ReadMoves {
    let pager: PagerPointer
    let client: ClientPointer
    let slot: WordPointer
    let asked: UInt32
    /// Evictions are told.
    @inline(__always) var precious: boolean_t { pager.pointee.notify ? 1 : 0 }

    @inline(__always) var hadHolders: Bool { false }
    @inline(__always) var unit: UInt32 { Executor.loneUnit }
    @inline(__always) func read(_ pager: PagerPointer, _ offset: vm_offset_t) {
        pager.read(LoneHold(pager: pager), self, offset)
    }

    @inline(__always)
    func decide(_ hold: some ReadHold) -> ReadAnswer? {
        if !hold.hold(client) { return nil }
        // The client is held, and the page still names it.
        if !slot.pointee.compareExchange(expected: asked, desired: client.pointee.moves.supplying, ordering: .acquiringAndReleasing).exchanged {
            hold.letGo(client)
            return nil
        }
        return ReadAnswer(client: client, isKnown: true, lock: 0, precious: precious, holders: true)
    }

    @inline(__always)
    func letGo(_ client: ClientPointer, _ hold: some ReadHold) { hold.letGo(client) }

    @inline(__always)
    func sent(_ pager: PagerPointer, _ answer: ReadAnswer) -> Bool {
        slot.pointee.compareExchange(expected: client.pointee.moves.supplying, desired: client.pointee.moves.given,
                                     ordering: .acquiringAndReleasing).exchanged
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The client, if it is alone and this is its port; the page's word, if the range is one page that was touched.
    @inline(__always)
    private func quick(_ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t) -> (ClientPointer, WordPointer, UInt64)? {
        let page = self.page(offset)
        guard let client = ClientPointer(bitPattern: pointee.quickClient.load(ordering: .acquiring)),
              client.pointee.control.load(ordering: .relaxed) == control,
              widen(length) == pointee.pageBytes, widen(offset) & (pointee.pageBytes &- 1) == 0,
              let slot = pointee.map.word(at: page) else { return nil }
        return (client, slot, page)
    }

    // data_request.

    /// false: nothing was done.
    @inline(__always)
    func requestQuickly(_ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t) -> Bool {
        guard let (client, slot, _) = quick(control, offset, length) else { return false }
        let word = slot.pointee.load(ordering: .relaxed)
        // Resting, or untouched, which means the same.
        if word > Word.resting.raw { return false }
        let asked = client.pointee.moves.asked
        if !slot.pointee.compareExchange(expected: word, desired: asked, ordering: .acquiringAndReleasing).exchanged { return false }
        _ = mach_port_deallocate(mach_task_self(), control)

        beginRead(LoneRead(pager: self, client: client, slot: slot, asked: asked), offset)
        if client.pointee.attached.load(ordering: .sequentiallyConsistent) == 0 { forget(client, offset) }
        return true
    }

    @inline(never)
    private func forget(_ client: ClientPointer, _ offset: vm_offset_t) { forgetIfGone(client.pointee.number, page(offset)) }

    // data_unlock.

    /// false: nothing was done.
    @inline(__always)
    func unlockQuickly(_ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t) -> Bool {
        guard let (client, slot, page) = quick(control, offset, length) else { return false }
        let locked = client.pointee.moves.locked, unlocking = client.pointee.moves.unlocking
        if locked == 0 || slot.pointee.load(ordering: .relaxed) != locked { return false }
        if !slot.pointee.compareExchange(expected: locked, desired: unlocking, ordering: .acquiringAndReleasing).exchanged { return false }
        _ = mach_port_deallocate(mach_task_self(), control)

        let worker = Worker.current
        if claimLone(worker) {
            worker?.passTurn()
            permitQuickly(LoneHold(pager: self), client, slot, page, offset, unlocking)
        } else {
            unlockLater(page)
        }
        return true
    }

    @inline(__always)
    private func permitQuickly(_ hold: LoneHold, _ client: ClientPointer, _ slot: WordPointer, _ page: UInt64, _ offset: vm_offset_t,
                               _ unlocking: UInt32) {
        var isKept = false
        let code = inCallback(.unlock, page...page, isLone: true) { callback in
            let code = pager_unlock_page(pointee.user, offset)
            isKept = hold.isKept(callback)
            return code
        }
        if !isKept { return unlockOtherwise(page, code) }
        let permitting = client.pointee.moves.permitting
        // The client is held, and the page still names it.
        if code != 0 || !hold.hold(client)
            || !slot.pointee.compareExchange(expected: unlocking, desired: permitting, ordering: .acquiringAndReleasing).exchanged {
            return unlockOtherwise(hold, page, code)
        }
        pointee.lone.unlocks.countAlone()
        let phase = hold.beginAnswer()
        let result = pager_control_memory_object_lock_request(
            control(client), offset, vm_size_t(truncatingIfNeeded: pointee.pageBytes), MEMORY_OBJECT_RETURN_NONE, 0, VM_PROT_NONE, 0)
        if result != 0 { permitAgain(client, page, result) }
        if slot.pointee.compareExchange(expected: permitting, desired: client.pointee.moves.given, ordering: .acquiringAndReleasing).exchanged {
            hold.endAnswer(phase)
            hold.finish()
        } else {
            permittedOtherwise(hold, page, phase)
        }
    }

    @inline(never)
    private func unlockLater(_ page: UInt64) {
        followLater(page, NextCall(action: .unlock, page: page, hadHolders: true))
        takenIn()
        runJobs()
    }

    /// The answer is sent, and somebody waits.
    @inline(never)
    private func permittedOtherwise(_ hold: LoneHold, _ page: UInt64, _ phase: UInt32) {
        let outcome = transition(page, .sent, context(hadHolders: true))
        hold.endAnswer(phase)
        moveToExecutor(Executor.other)
        follow(.unlock, advance(page, outcome, 0))
        if !finishQuickly(Executor.other) { workOn() }
    }

    @inline(never)
    private func unlockOtherwise(_ hold: LoneHold, _ page: UInt64, _ code: Int32) {
        moveToExecutor(Executor.other)
        unlockOtherwise(page, code)
    }

    /// The executor is held as for any other callback.
    @inline(never)
    private func unlockOtherwise(_ page: UInt64, _ code: Int32) {
        let outcome = transition(page, .unlockDone(code: code), context(hadHolders: true))
        follow(.unlock, advance(page, outcome, 0))
        if !finishQuickly(Executor.other) { workOn() }
    }

    @inline(never)
    private func permitAgain(_ client: ClientPointer, _ page: UInt64, _ result: kern_return_t) {
        _ = sendAgain(client, page, result) {
            pager_control_memory_object_lock_request($0, offset(page), vm_size_t(pageSize), MEMORY_OBJECT_RETURN_NONE, 0, VM_PROT_NONE, 0)
        }
    }

    // data_return of a changed page that the client does not keep.

    /// false: nothing was done. Else the data are ours.
    @inline(__always)
    func returnQuickly(_ control: mach_port_t, _ offset: vm_offset_t, _ data: vm_address_t, _ bytes: vm_size_t) -> Bool {
        guard let (client, slot, page) = quick(control, offset, bytes), data != 0, widen(data) & (pointee.pageBytes &- 1) == 0 else { return false }
        let given = client.pointee.moves.given, writing = client.pointee.moves.writing
        if writing == 0 || slot.pointee.load(ordering: .relaxed) != given { return false }
        let worker = Worker.current
        // The executor comes first: without it the page goes to the write-back.
        if !claimQuickly(worker, Executor.other) { return false }
        _ = mach_port_deallocate(mach_task_self(), control)
        if !slot.pointee.compareExchange(expected: given, desired: writing, ordering: .acquiringAndReleasing).exchanged {
            returnOtherwise(client.pointee.number, page, data)
            return true
        }
        let number = beginDirectWrite(page...page)
        worker?.passTurn()
        inCallback(.write, page...page) { callback in
            callback.noteDirect(number)
            let code = pager_write_page(pointee.user, offset, data)
            if code == 0 { pointee.counters.pageOuts.increment() }
            if code == 0 && slot.pointee.compareExchange(expected: writing, desired: Word.resting.raw,
                                                         ordering: .acquiringAndReleasing).exchanged {
                _ = vm_deallocate(mach_task_self(), data, vm_size_t(truncatingIfNeeded: pointee.pageBytes))
            } else {
                writtenOtherwise(page, code, data)
            }
            endDirectWrite(callback)
        }
        if !finishQuickly(Executor.other) {
            workOn()
            helpWriting()
        }
        return true
    }

    @inline(never)
    private func returnOtherwise(_ number: ClientNumber, _ page: UInt64, _ data: vm_address_t) {
        takeReturn(number, page, data, 1, dirty: true, keepsCopy: false, isClaimed: true)
    }

    @inline(never)
    private func writtenOtherwise(_ page: UInt64, _ code: Int32, _ data: vm_address_t) {
        follow(.write, advance(page, transition(page, .writeDone(code: code), context()), data))
    }
}
