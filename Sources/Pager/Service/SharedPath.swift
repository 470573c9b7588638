// The short way of pages that several clients have.
//
// What the rules said to a state is remembered: at the edges of its descriptor, or, where the state is in the word, by `WordMoves`. Where the
// moves of a message were made before by another page, they are followed here one after the other: a descriptor's under the lock for a few
// instructions, a word's by compare-and-swap. What they ask for is done as on the long way and in the same order (Perform.swift). A move that
// is not known, or asks for something unusual, takes the long way from there.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// A move of the page, if it is known and wanted.
    @inline(__always)
    private func move(_ slot: WordPointer, _ event: Event, _ context: Context, _ isWanted: (Effects) -> Bool) -> Effects? {
        let key = event.edgeKey(context), word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor {
            guard let known = pointee.moves.move(word, event, key, context), known.reach == .plain, isWanted(known.effects),
                  slot.pointee.compareExchange(expected: word.raw, desired: known.new.raw, ordering: .acquiringAndReleasing).exchanged
            else { return nil }
            return known.effects
        }
        pointee.monitor.lock()
        let effects = moveLocked(slot, key, isWanted)
        pointee.monitor.unlock()
        return effects
    }

    /// `data_request` for a page that has to be read. false: nothing was done.
    @inline(__always)
    func requestShared(_ client: ClientPointer, _ page: UInt64, _ offset: vm_offset_t, _ event: Event) -> Bool {
        let context = context()
        // (A lone client has its own short way.)
        guard !context.sole, let slot = pointee.map.word(at: page),
              let effects = move(slot, event, context, { $0.action == .read }) else { return false }
        readShared(client, slot, page, offset, effects.holders)
        return true
    }

    @inline(never)
    private func readShared(_ client: ClientPointer, _ slot: WordPointer, _ page: UInt64, _ offset: vm_offset_t, _ hadHolders: Bool) {
        let next = NextCall(action: .read, page: page, hadHolders: hadHolders), number = client.pointee.number
        let worker = Worker.current
        if claimQuickly(worker, 1) {
            worker?.passTurn()
            callShared(slot, next, offset)
            if !finishQuickly(1) { workOn() }
        } else {
            followLater(page, next)
            takenIn()
            runJobs()
        }
        forgetIfGone(number, page)
    }

    /// Reads the page for its first waiter and sends it. The executor is held.
    @inline(__always)
    private func callShared(_ slot: WordPointer, _ next: NextCall, _ offset: vm_offset_t) {
        var buffer: vm_address_t = 0
        var writeLock: Int32 = 0
        let page = next.page
        let code = inCallback(.read, page...page) { _ in pager_read_page(pointee.user, offset, &buffer, &writeLock) }
        if code | writeLock != 0 || buffer == 0 || widen(buffer) & (pointee.pageBytes &- 1) != 0 {
            return readSharedOtherwise(next, code, writeLock, buffer)
        }
        guard let (effects, waiter, isKnown) = decideSupply(slot, page, context(hadHolders: next.hadHolders)) else {
            return readSharedOtherwise(next, code, writeLock, buffer)
        }
        pointee.counters.pageIns.increment()
        let phase = beginAnswers()
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 { noteGiven(effects.client, page) }
        if isKnown {
            supplyShared(waiter, page, offset, buffer, effects)
            release(waiter)
        } else {
            freePages(buffer, 1)
        }
        if move(slot, .sent, context(hadHolders: effects.holders), { $0.action == .none }) != nil {
            endAnswers(phase)
        } else {
            sentShared(page, effects.holders, phase)
        }
    }

    /// The page was read: whom it goes to. The client is held (true), unless it has gone.
    @inline(__always)
    private func decideSupply(_ slot: WordPointer, _ page: UInt64, _ context: Context) -> (Effects, ClientPointer, Bool)? {
        let event = Event.readDone(code: 0, writeLock: false), key = event.edgeKey(context)
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor {
            guard let known = pointee.moves.move(word, event, key, context), known.reach == .plain, known.effects.action == .supply,
                  slot.pointee.compareExchange(expected: word.raw, desired: known.new.raw, ordering: .acquiringAndReleasing).exchanged
            else { return nil }
            let client = pointee.clients.client(known.effects.client)
            if !client.acquire() { return (known.effects, client, false) }
            // The client that is meant, if the page still has it recorded (`Outcome.means`).
            if slot.pointee.load(ordering: .acquiring) == known.new.raw || currentAccess(page, client.pointee.number) != .none {
                return (known.effects, client, true)
            }
            release(client)
            return (known.effects, client, false)
        }
        pointee.monitor.lock()
        let decided = moveLocked(slot, key) { $0.action == .supply && $0.client != noClient }
        // While the page names the client its number is nobody else's.
        let client = decided.map { pointee.clients.client($0.client) }
        let isKnown = client?.acquire() ?? false
        pointee.monitor.unlock()
        guard let decided, let client else { return nil }
        return (decided, client, isKnown)
    }

    @inline(__always)
    private func supplyShared(_ client: ClientPointer, _ page: UInt64, _ offset: vm_offset_t, _ data: vm_address_t, _ effects: Effects) {
        let size = mach_msg_type_number_t(truncatingIfNeeded: pointee.pageBytes)
        let lock = effects.write ? 0 : VM_PROT_WRITE, precious: boolean_t = effects.precious ? 1 : 0
        let result = pager_control_memory_object_data_supply(control(client), offset, data, size, 1, lock, precious, 0)
        if result == 0 {
            pointee.counters.supplies.increment()
        } else {
            supplyAgain(client, page, data, result, lock, precious)
        }
    }

    @inline(never)
    private func sentShared(_ page: UInt64, _ hadHolders: Bool, _ phase: UInt32) {
        let outcome = transition(page, .sent, context(hadHolders: hadHolders))
        endAnswers(phase)
        follow(.read, advance(page, outcome, 0))
    }

    @inline(never)
    private func readSharedOtherwise(_ next: NextCall, _ code: Int32, _ writeLock: Int32, _ buffer: vm_address_t) {
        follow(.read, afterRead(next, code, writeLock, buffer))
    }
}
