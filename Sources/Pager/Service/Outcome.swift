// What a transition decided, with the clients that it concerns.

import CPlatform
import Synchronization

/// Four words, so that it is handed on in registers.
struct Outcome {
    var effects: Effects
    /// The state whose clients matter: where clients are answered the one before the event (its queue), where clients are
    /// asked the one after (its access set). The untouched word: there are none. Where it is a descriptor, a reference to that is held until
    /// `releaseOutcome`.
    let word: Word
    /// Without a lock: the word that the page's became. Under the lock: how many clients had attached by then.
    private let since: UInt32
    /// Without a lock: the page's word. Under the lock: `.supplyHeld`'s version, with a reference until `releaseOutcome`; the batch of `.flush`
    /// and `.downgrade`, which is to be sent; the version that the caller of `.store` is to write; else 0, or `withoutMemory`.
    private let place: UInt

    private static let withoutMemory: UInt = 1

    static var nothing: Outcome { Outcome(effects: .nothing, word: .untouched, since: 0, place: 0) }
    static var noMemory: Outcome { Outcome(effects: .nothing, word: .untouched, since: 0, place: withoutMemory) }

    @inline(__always)
    private init(effects: Effects, word: Word, since: UInt32, place: UInt) {
        self.effects = effects
        self.word = word
        self.since = since
        self.place = place
    }

    /// Decided under the lock.
    @inline(__always)
    init(effects: Effects, word: Word, attachments: UInt = 0, version: JobPointer? = nil) {
        assert(version == nil || effects.action == .supplyHeld)
        self.init(effects: effects, word: word, since: UInt32(truncatingIfNeeded: attachments), place: UInt(bitPattern: version))
    }

    /// The same, where clients are asked.
    @inline(__always)
    init(effects: Effects, batch: LockBatchPointer) {
        self.init(effects: effects, word: .untouched, since: 0, place: UInt(bitPattern: batch))
    }

    /// The same, where data were stored. `begun`: this thread is to write them.
    @inline(__always)
    init(effects: Effects, begun: JobPointer?) {
        assert(effects.data == .store && effects.action == .none)
        self.init(effects: effects, word: .untouched, since: 0, place: UInt(bitPattern: begun))
    }

    /// Decided without a lock.
    @inline(__always)
    init(effects: Effects, word: Word, slot: WordPointer, new: Word) {
        assert(effects.action != .supplyHeld && effects.action != .flush && effects.action != .downgrade)
        self.init(effects: effects, word: word, since: new.raw, place: UInt(bitPattern: slot))
    }

    /// Memory was exhausted and nothing happened. Only requests and offers can be answered so.
    @inline(__always)
    var isExhausted: Bool { place == Outcome.withoutMemory }

    /// `.supplyHeld`: the version to send.
    @inline(__always)
    var version: JobPointer? { effects.action == .supplyHeld ? JobPointer(bitPattern: place) : nil }

    /// Data were stored: the version that the caller is to write now, for which it has the executor. nil: it waits in the queue.
    @inline(__always)
    var begun: JobPointer? { effects.data == .store ? JobPointer(bitPattern: place) : nil }

    /// `.flush`, `.downgrade`: the requests that are to be sent. nil: each client in `word` is to be asked by itself.
    @inline(__always)
    var batch: LockBatchPointer? { isAsking ? LockBatchPointer(bitPattern: place) : nil }

    @inline(__always)
    private var isAsking: Bool { effects.action == .flush || effects.action == .downgrade }

    /// It was decided under the lock.
    @inline(__always)
    private var isLocked: Bool { place == 0 || effects.action == .supplyHeld || isAsking }

    /// Something is to be done.
    var isDue: Bool { effects.action != .none || effects.refusal != .none }

    /// Something is held until `releaseOutcome`.
    @inline(__always)
    var holds: Bool { word.isDescriptor || effects.action == .supplyHeld }

    /// Whether the client, of which the caller holds a reference, is the one whose number the outcome names, and not one that got the
    /// number since. A number is free only after every page has forgotten its client, and after the last reference went. So:
    ///   - under the lock, under which clients attach: it is if it was attached by then;
    ///   - without: it is if the page still has it recorded as was decided, since the page is ours until the answer is sent and nobody else
    ///     is granted it meanwhile. (An error leaves no record. It may reach a new client, where it answers nothing.)
    @inline(__always)
    func means(_ client: ClientPointer, _ page: UInt64, _ pager: PagerPointer) -> Bool {
        if isLocked {
            return Int32(bitPattern: since &- UInt32(truncatingIfNeeded: client.pointee.attachment.load(ordering: .relaxed))) >= 0
        }
        let slot = WordPointer(bitPattern: place).unsafelyUnwrapped
        return slot.pointee.load(ordering: .acquiring) == since || effects.action == .error
            || pager.currentAccess(page, client.pointee.number) != .none
    }

    /// The clients that get an answer, in order of arrival.
    var answeredCount: Int { effects.client != noClient ? 1 : effects.count }

    @inline(__always)
    func answered(at index: Int, _ table: DescriptorTable) -> ClientNumber {
        effects.client != noClient ? effects.client : waiting(index, table)
    }

    @inline(never)
    private func waiting(_ index: Int, _ table: DescriptorTable) -> ClientNumber {
        var left = index, place = 0
        while true {
            let client = word.isDescriptor ? table.referenced(word.descriptor).content.waiter(at: place).client
                : WordState(word).waiter(at: place).client
            if client != effects.without {
                if left == 0 { return client }
                left -= 1
            }
            place += 1
        }
    }

    /// Calls the body for each client that is outstanding: a lock request goes to it.
    func forEachOutstanding(_ table: DescriptorTable, _ body: (ClientNumber) -> Void) {
        if word.isDescriptor {
            table.referenced(word.descriptor).content.forEachAccess { holder, held in
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
    @inline(__always)
    var payload: EdgePayload { EdgePayload(a: who, b: what) }

    @inline(__always)
    init(_ payload: EdgePayload) { self.init(who: payload.a, what: payload.b) }
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
        return kind << 56 | flags << 48 | UInt64(context.bits) << 40 | UInt64(client)
    }
}
