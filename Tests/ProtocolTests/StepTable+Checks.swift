// Checks of one answer of the rules by itself: state before, event, effects, state after.
//
// Checked: P1-P4 of the state after (PageState.swift); the queue keeps its order and loses only whom it may lose;
// exactly the answered clients are given access; readers at the head are served together; an error that is
// answered is the page's, the callback's, or the client's own pending one; nobody gets past a write lock; no message of
// a kernel that keeps to the protocol is refused.

@testable import Pager

extension StepTable {
    /// For kernels that keep to the protocol.
    static func judgeAnswer(_ before: ModelState, _ event: Event, _ context: Context, _ effects: Effects,
                            _ after: ModelState, _ queue: [Waiter], _ bounds: Bounds) -> String? {
        judgeAnyAnswer(before, event, effects, after, queue) ?? judgeRefusal(effects, bounds) ?? judgeProgress(before, event, context, effects)
    }

    /// For all kernels.
    static func judgeAnyAnswer(_ before: ModelState, _ event: Event, _ effects: Effects, _ after: ModelState,
                               _ queue: [Waiter]) -> String? {
        judgeState(after)
            ?? judgeQueue(before, event, effects, after, queue)
            ?? judgeAccess(before, event, effects, after, queue)
            ?? judgeErrors(before, event, effects, after, queue)
            ?? judgeWriteLock(before, event, effects, after)
    }

    /// P1-P4.
    private static func judgeState(_ state: ModelState) -> String? {
        let writers = state.holders.filter { state.access(of: $0) == .write }
        let readers = state.holders.filter { state.access(of: $0) == .read }
        if writers.count > 1 || (writers.count == 1 && !readers.isEmpty) { return "P1: a writer and somebody else" }
        if Set(state.queue.map(\.client)).count != state.queueCount { return "P2: a client waits twice" }
        if state.activity == .idle && !state.isQueueEmpty { return "P3, G5: idle, but somebody waits" }
        if state.activity != .flushing && state.holders.contains(where: { state.access(of: $0) == .revoking }) {
            return "P4: revoking, but not flushing"
        }
        if state.isInvalid && state.error == 0 { return "invalid without an error" }
        if state.activity == .flushing && !state.hasOutstanding { return "flushing, but nobody is outstanding" }
        if state.activity == .downgrading && state.writer == noClient { return "downgrading, but nobody writes" }
        return nil
    }

    private static func judgeQueue(_ before: ModelState, _ event: Event, _ effects: Effects, _ after: ModelState,
                                   _ queue: [Waiter]) -> String? {
        let answered: Int
        switch effects.action {
        case .supply, .supplyHeld, .error, .grantWrite: answered = effects.count
        default:
            if effects.count != 0 || effects.client != noClient { return "effects: recipients without an answer" }
            answered = 0
        }
        if answered > queue.count { return "queue: more clients are answered than wait" }
        if answered > 0 && recipients(before, effects) != queue.prefix(answered).map(\.client) {
            return "queue: the answer goes to \(recipients(before, effects)), but \(queue) wait"
        }
        var expected = Array(queue.dropFirst(answered))
        // A client that is alone need not wait: its access is recorded at once.
        if let alone = alone(event, effects, after), before.activity == .idle, queue.count == 1 {
            expected.removeAll { $0.client == alone }
        }
        expected.removeAll { waiter in
            if after.queue.contains(where: { $0.client == waiter.client }) { return false }
            // Its unlock is answered by a flush, the protocol's or the user's.
            if effects.action == .flush && before.access(of: waiter.client) != .none { return true }
            if event == .released(waiter.client) { return true }
            // It gave the page up: its unlock is void.
            if event == .returned(waiter.client, dirty: true, keepsCopy: false)
                || event == .returned(waiter.client, dirty: false, keepsCopy: false) {
                return before.access(of: waiter.client) != .none
            }
            // It gave the page up: its unlock is void.
            if event == .returned(waiter.client, dirty: true, keepsCopy: false)
                || event == .returned(waiter.client, dirty: false, keepsCopy: false) {
                return before.access(of: waiter.client) != .none
            }
            // It crossed a flush, which answers it.
            if event == .unlock(waiter.client) && before.activity == .flushing {
                return before.access(of: waiter.client) == .revoking || before.access(of: waiter.client) == .write
            }
            return false
        }
        if expected != after.queue { return "queue: \(queue) became \(after.queue) by \(effects)" }
        return nil
    }

    /// The client that is granted the page when it asks, before the data is there.
    private static func alone(_ event: Event, _ effects: Effects, _ after: ModelState) -> ClientNumber? {
        guard case .request(let client, _) = event, effects.action == .read else { return nil }
        return after.access(of: client) == .write && after.holders == [client] ? client : nil
    }

    private static func judgeAccess(_ before: ModelState, _ event: Event, _ effects: Effects, _ after: ModelState,
                                    _ queue: [Waiter]) -> String? {
        let recipients = recipients(before, effects)
        switch effects.action {
        case .supply, .supplyHeld, .grantWrite:
            if recipients.isEmpty { return "answer: to nobody" }
            let access: Access = effects.write || effects.action == .grantWrite ? .write : .read
            for client in recipients where after.access(of: client) != access {
                return "answer: client \(client) gets \(access) but is recorded with \(after.access(of: client))"
            }
            // (Not those that may have the page, where pages are offered.)
            let next = queue.dropFirst(effects.count).first { !$0.write && after.access(of: $0.client) == .none }
            if effects.count > 0 && !queue[0].write && (queue.prefix(effects.count).contains { $0.write }
                || next != nil && next == queue.dropFirst(effects.count).first) {
                return "queue: readers at the head are not served together"
            }
            if effects.count > 1 && queue[0].write {
                return "queue: others are served along with a writer"
            }
        case .error:
            if recipients.isEmpty { return "answer: to nobody" }
        default: break
        }
        for client in after.holders where after.access(of: client) != .revoking {
            let greater = after.access(of: client).rawValue > before.access(of: client).rawValue
            if greater && !recipients.contains(client) && client != alone(event, effects, after) {
                return "access: client \(client) gets \(after.access(of: client)) without an answer"
            }
        }
        return nil
    }

    private static func judgeErrors(_ before: ModelState, _ event: Event, _ effects: Effects, _ after: ModelState,
                                    _ queue: [Waiter]) -> String? {
        let recipients = recipients(before, effects)
        if effects.action == .error {
            if effects.code == 0 { return "error: without a code" }
            if after.error != effects.code { return "error: is not what pager_get_error tells" }
            let first = recipients[0]
            let pending = before.pendingError(of: first)
            let isOwn = queue.first == Waiter(client: first, write: true) && pending == effects.code
                && after.pendingError(of: first) == 0 && recipients.count == 1
            var isRead = false
            if case .readDone(effects.code, _) = event { isRead = true }
            // Refused before anybody had the page.
            if event == .unlockDone(code: effects.code, hasData: true) && queue[0].write { isRead = recipients.count == 1 }
            let isPage = after.isInvalid || before.isInvalid
            if !isOwn && !isRead && !isPage { return "error: \(effects.code) comes from nowhere" }
        }
        for client in before.clientsWithPendingError where after.pendingError(of: client) != before.pendingError(of: client) {
            let answered = effects.action == .error && recipients == [client]
            var renewed = false
            if case .unlockDone = event { renewed = true }
            if event != .clientGone(client) && !answered && !renewed { return "error: client \(client)'s pending error is forgotten" }
        }
        if effects.action == .supply || effects.action == .supplyHeld || effects.action == .grantWrite {
            for client in recipients where before.pendingError(of: client) != 0 {
                if queue.contains(Waiter(client: client, write: true)) {
                    return "error: client \(client) may write, but has a pending error"
                }
            }
        }
        if case .unlockDone(let code, false) = event, code != 0, let first = before.queue.first, first.write,
           before.access(of: first.client) == .read {
            if after.pendingError(of: first.client) != code || after.access(of: first.client) != .revoking
                || effects.action != .flush { return "error: a refused unlock is neither flushed nor remembered" }
        }
        if case .unlockDone(let code, true) = event, code != 0, let first = before.queue.first, first.write {
            let isTold = effects.action == .error && recipients == [first.client]
            if !isTold && !(effects.action == .notify && after.pendingError(of: first.client) == code) {
                return "error: a refused unlock is neither told nor remembered"
            }
        }
        return nil
    }

    /// Nobody may write past the translator's write lock.
    private static func judgeWriteLock(_ before: ModelState, _ event: Event, _ effects: Effects, _ after: ModelState) -> String? {
        if case .readDone(0, true) = event, effects.action == .supply, effects.write || !after.isWriteLocked {
            return "write lock: is not kept"
        }
        if case .unlockDone(let code, true) = event, code != 0, effects.action == .supply, effects.write || !after.isWriteLocked {
            return "write lock: is not kept, though the unlock was refused"
        }
        if effects.action == .grantWrite && before.isWriteLocked && event != .unlockDone(code: 0) {
            return "write lock: writing is permitted without an unlock"
        }
        return nil
    }

    /// Where several clients write, a page that is given to one locked may be taken from it before its unlock comes, over and over.
    private static func judgeProgress(_ before: ModelState, _ event: Event, _ context: Context, _ effects: Effects) -> String? {
        // (Who was alone when it asked does not stand in the queue.)
        if case .readDone(0, true) = event, effects.action == .supply, !context.sole, let first = before.queue.first, first.write,
           recipients(before, effects) == [first.client] {
            return "progress: one of several gets the page to write locked"
        }
        return nil
    }

    private static func judgeRefusal(_ effects: Effects, _ bounds: Bounds) -> String? {
        switch effects.refusal {
        case .none, .offerNotWanted: return nil
        // (The page went back in the meantime.)
        case .unlockWithoutPage where bounds.overtaking: return nil
        default: return "refused: \(effects.refusal), though all kernels keep to the protocol"
        }
    }
}
