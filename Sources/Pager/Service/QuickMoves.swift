// What the rules say of a page that a lone client asks for, writes to and gives back, remembered.
//
// An object with one client is the usual case, and nearly all that happens to its pages are the moves below. The rules are a pure function, so what
// they say to a word and an event is worked out once, when the client attaches, by `PageProtocol.step` itself, and kept with the client:
//
//   resting --request--> asked (read) --readDone--> supplying (supply) --sent--> given
//   locked --unlock--> unlocking (unlock) --unlockDone--> permitting (grantWrite) --sent--> given
//   given --returned, dirty, direct--> writing (write) --writeDone--> resting (discard)
//
// (In brackets what the effects say.) If the rules say something else somewhere, that way is closed and every message takes the long one.
// The short way is QuickPath.swift; it knows words only as they are found here.

import CPlatform
import Synchronization

/// Words of the page map. 0: the way is closed. (No move leads to an untouched page.)
struct QuickMoves {
    private(set) var asked: UInt32 = 0
    private(set) var supplying: UInt32 = 0
    private(set) var given: UInt32 = 0
    private(set) var locked: UInt32 = 0
    private(set) var unlocking: UInt32 = 0
    private(set) var permitting: UInt32 = 0
    private(set) var writing: UInt32 = 0

    init() {}

    init(_ client: ClientNumber, notify: Bool) {
        let sole = Context(sole: true, notify: notify), direct = Context(sole: true, notify: notify, direct: true)
        // Somebody had the page while the owner was at work.
        let had = Context(sole: true, notify: notify, hadHolders: true)

        // The answer does not depend on what is wanted (a lone client may write).
        guard let asked = QuickMoves.move(.resting, .request(client, write: false), sole, { $0 == Effects(action: .read) }),
              asked == QuickMoves.move(.resting, .request(client, write: true), sole, { $0 == Effects(action: .read) }),
              let supplying = QuickMoves.move(asked, .readDone(code: 0, writeLock: false), sole, {
                  $0 == Effects(action: .supply, client: client, write: true, precious: notify, holders: true)
              }),
              let given = QuickMoves.move(supplying, .sent, had, { $0 == Effects(holders: true) }) else { return }
        self.asked = asked.raw
        self.supplying = supplying.raw
        self.given = given.raw

        if let read = QuickMoves.move(asked, .readDone(code: 0, writeLock: true), sole, { $0.action == .supply }),
           let locked = QuickMoves.move(read, .sent, had, { $0 == Effects(holders: true) }),
           let unlocking = QuickMoves.move(locked, .unlock(client), sole, {
               $0 == Effects(action: .unlock, client: noClient, holders: true)
           }),
           let permitting = QuickMoves.move(unlocking, .unlockDone(code: 0), had, {
               $0 == Effects(action: .grantWrite, count: 1, holders: true)
           }),
           WordState(unlocking).waiter(at: 0) == Waiter(client: client, write: true),
           given == QuickMoves.move(permitting, .sent, had, { $0 == Effects(holders: true) }) {
            self.locked = locked.raw
            self.unlocking = unlocking.raw
            self.permitting = permitting.raw
        }

        if let writing = QuickMoves.move(given, .returned(client, dirty: true, keepsCopy: false), direct, {
               $0.action == .write && $0.refusal == .none && $0.data == .used && $0.held == .unchanged
           }),
           .resting == QuickMoves.move(writing, .writeDone(code: 0), sole, { $0 == Effects(data: .discard) }) {
            self.writing = writing.raw
        }
    }

    /// The word after the event; nil: it does not fit, or the effects are not the expected ones.
    private static func move(_ word: Word, _ event: Event, _ context: Context, _ isExpected: (Effects) -> Bool) -> Word? {
        var state = WordState(word)
        let effects = PageProtocol.step(&state, event, context)
        return !state.overflowed && !state.isHeld && isExpected(effects) ? state.word : nil
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The short way is open to a client that is alone, while nothing is to be looked at besides: no shutdown, no offers
    /// (Offers.swift). Called whenever one of these changes. Locked.
    func noteQuickClientLocked() {
        var quick: ClientPointer?
        let core = pointee.clients.core
        if core.pointee.attached.load(ordering: .sequentiallyConsistent) == 1
            && pointee.closing.load(ordering: .sequentiallyConsistent) == 0
            && pointee.isOffered.load(ordering: .relaxed) == 0 {
            for number in 0..<Swift.min(pointee.clients.used, WordLayout.clients) {
                let client = pointee.clients.client(number)
                if client.pointee.attached.load(ordering: .relaxed) == 0 { continue }
                if client.pointee.moves.asked == 0 { client.pointee.moves = QuickMoves(number, notify: pointee.notify) }
                if client.pointee.moves.asked != 0 { quick = client }
            }
        }
        let former = ClientPointer(bitPattern: pointee.quickClient.exchange(UInt(bitPattern: quick), ordering: .sequentiallyConsistent))
        if let former, former != quick { lendLocked(former) }
    }
}
