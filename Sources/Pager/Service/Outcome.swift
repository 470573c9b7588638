// What a transition decided, with the clients that it concerns.

import CPlatform
import Synchronization

struct Outcome {
    var effects: Effects
    /// The state whose clients matter: where clients are answered the one before the event (its queue), where clients are
    /// asked the one after (its access set). The untouched word: there are none.
    var word: Word
    /// What `word` refers to, where it is a descriptor whose clients matter: a reference to it is held until `releaseOutcome`.
    var descriptor: DescriptorPointer?
    /// `.supplyHeld`: the version to send, with a reference until `releaseOutcome`.
    var version: JobPointer?
    /// The page's word and what it was made, where no lock was held; nil: `attachments` tells.
    var slot: WordPointer?
    var new = Word.untouched
    /// How many clients had attached by then.
    var attachments: UInt = 0
    /// Memory was exhausted and nothing happened. Only requests and offers can be answered so.
    var exhausted = false

    static let nothing = Outcome(effects: .nothing, word: .untouched)
    static let noMemory = Outcome(effects: .nothing, word: .untouched, exhausted: true)

    init(effects: Effects, word: Word, descriptor: DescriptorPointer? = nil, attachments: UInt = 0, exhausted: Bool = false) {
        self.effects = effects
        self.word = word
        self.descriptor = descriptor
        self.attachments = attachments
        self.exhausted = exhausted
    }

    /// Decided without a lock.
    init(effects: Effects, word: Word, slot: WordPointer, new: Word) {
        self.effects = effects
        self.word = word
        self.slot = slot
        self.new = new
    }

    /// Whether the client, of which the caller holds a reference, is the one whose number the outcome names, and not one that got the
    /// number since. A number is free only after every page has forgotten its client, and after the last reference went. So:
    ///   - under the lock, under which clients attach: it is if it was attached by then;
    ///   - without: it is if the page still has it recorded as was decided, since the page is ours until the answer is sent and nobody else
    ///     is granted it meanwhile. (An error leaves no record. It may reach a new client, where it answers nothing.)
    @inline(__always)
    func means(_ client: ClientPointer, _ page: UInt64, _ pager: PagerPointer) -> Bool {
        guard let slot else {
            return Int(bitPattern: attachments &- client.pointee.attachment.load(ordering: .relaxed)) >= 0
        }
        return slot.pointee.load(ordering: .acquiring) == new.raw || effects.action == .error
            || pager.currentAccess(page, client.pointee.number) != .none
    }

    /// The clients that get an answer, in order of arrival.
    var answeredCount: Int { effects.client != noClient ? 1 : effects.count }

    func answered(at index: Int) -> ClientNumber {
        if effects.client != noClient { return effects.client }
        var left = index, place = 0
        while true {
            let client = waiter(at: place)
            if client != effects.without {
                if left == 0 { return client }
                left -= 1
            }
            place += 1
        }
    }

    private func waiter(at place: Int) -> ClientNumber {
        if let descriptor { return Descriptor(pointer: descriptor).content.waiter(at: place).client }
        return WordState(word).waiter(at: place).client
    }

    /// Calls the body for each client that is outstanding: a lock request goes to it.
    func forEachOutstanding(_ body: (ClientNumber) -> Void) {
        if let descriptor {
            Descriptor(pointer: descriptor).content.forEachAccess { holder, held in
                if held == .revoking || held == .write { body(holder) }
            }
            return
        }
        let state = WordState(word)
        for client in 0..<WordLayout.clients {
            let access = state.access(of: client)
            if access == .revoking || access == .write { body(client) }
        }
    }
}

// Effects and events as the descriptors' remembered edges keep them.

extension Effects {
    // (The two have the same size, or this does not compile to anything but a trap; every value of the enumerations came from one.)
    @inline(__always)
    var payload: EdgePayload { unsafeBitCast(self, to: EdgePayload.self) }

    @inline(__always)
    init(_ payload: EdgePayload) { self = unsafeBitCast(payload, to: Effects.self) }
}

extension Event {
    /// The event and all that the rules look at beside the state, as a key; 0: not worth remembering.
    @inline(__always)
    func edgeKey(_ context: Context) -> UInt64 {
        let (kind, client, flags): (UInt64, ClientNumber, UInt64)
        switch self {
        case .request(let c, let write): (kind, client, flags) = (1, c, write ? 1 : 0)
        case .unlock(let c): (kind, client, flags) = (2, c, 0)
        case .returned(let c, let dirty, let keeps): (kind, client, flags) = (3, c, (dirty ? 1 : 0) | (keeps ? 2 : 0))
        case .lockCompleted(let c): (kind, client, flags) = (4, c, 0)
        case .released(let c): (kind, client, flags) = (5, c, 0)
        case .clientGone(let c): (kind, client, flags) = (6, c, 0)
        case .readDone(0, let writeLock): (kind, client, flags) = (7, 0, writeLock ? 1 : 0)
        case .writeDone(0): (kind, client, flags) = (8, 0, 0)
        case .unlockDone(0, let hasData): (kind, client, flags) = (9, 0, hasData ? 1 : 0)
        case .sent: (kind, client, flags) = (10, 0, 0)
        case .notified: (kind, client, flags) = (11, 0, 0)
        case .writtenBack(0): (kind, client, flags) = (12, 0, 0)
        default: return 0
        }
        let about: UInt64 = (context.sole ? 1 : 0) | (context.notify ? 2 : 0) | (context.direct ? 4 : 0)
            | (context.hadHolders ? 8 : 0) | (context.isOffered ? 16 : 0)
        return kind << 56 | flags << 48 | about << 40 | UInt64(client)
    }
}
