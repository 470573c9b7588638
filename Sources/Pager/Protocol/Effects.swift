// What is to be done after an event. The rules only say it; the service does it.

/// The one thing the page's owner (or, for lock requests, whoever made the transition) does next.
enum Action: UInt8 {
    case none
    /// Call `pager_read_page`, then report `.readDone`.
    case read
    /// Call `pager_write_page` with the event's data, then report `.writeDone`.
    case write
    /// Call `pager_unlock_page`, then report `.unlockDone`. Data that came with the event are kept at hand for the report.
    case unlock
    /// Call `pager_notify_evict`, then report `.notified`.
    case notify
    /// `data_supply` to the answered clients, from the data at hand (read, written or offered);
    /// then report `.sent`.
    case supply
    /// `data_supply` to the answered clients, from the write-back queue; then report `.sent`.
    case supplyHeld
    /// `data_error` to the answered clients, then report `.sent`.
    case error
    /// `lock_request` that permits writing, to the answered clients, then report `.sent`.
    case grantWrite
    /// `lock_request` to the writer: return what is dirty, forbid writing. Answered by `.lockCompleted`.
    case downgrade
    /// `lock_request` to every client that is outstanding in the new state: return what is dirty
    /// (`returnAll`: what is precious, too), flush. Each answers with `.lockCompleted`.
    case flush
}

/// What becomes of the data that came with the event (`.returned`, `.readDone`, `.writeDone`).
enum DataFate: UInt8 {
    /// There is none, or `action` uses it (`.write`, `.supply`) and it is freed afterwards, or keeps it (`.unlock`).
    case used
    /// To the write-back queue, as the newest version of the page.
    case store
    /// Not needed.
    case discard
}

/// What becomes of the page's version in the write-back queue.
enum HeldFate: UInt8 {
    case unchanged
    /// Not needed any more.
    case drop
    /// Written or not, it is owed to a waiter: keep it in memory, do not write it again.
    case keep
}

/// Why an event was not accepted. Counted by the service, logged once each.
enum Refusal: UInt8 {
    case none
    /// `data_unlock` by a client that does not have the page: forged, or so late that the flush that it crossed is over
    /// already (and has answered it).
    case unlockWithoutPage
    /// `data_return` by a client that does not have the page.
    case returnWithoutPage
    /// Dirty data from a client that was never allowed to write.
    case dirtyFromReader
    /// The offered page cannot be taken: somebody has it, or waits for it.
    case offerNotWanted
}

/// 24 bytes without gaps: descriptors' edges remember them as they are (`payload`).
struct Effects: Equatable {
    /// The answered clients: this one, or, where it is `noClient`, the first `count` of the queue
    /// as it was before the event, `without` not counted (a client that is gone).
    var client: ClientNumber
    private var answered: UInt32
    var without: ClientNumber
    /// `.error`: the code. Not zero.
    var code: Int32
    var action: Action
    var data: DataFate
    var held: HeldFate
    var refusal: Refusal
    /// `.supply*`: writing is permitted.
    var write: Bool
    /// `.supply*`: evictions of the page must be told.
    var precious: Bool
    /// `.flush`: precious pages come back though they are clean.
    var returnAll: Bool
    /// Somebody has the page, or its eviction is still to be told, should nobody get it after all; goes back in
    /// `Context.hadHolders` with the report.
    var holders: Bool

    var count: Int {
        get { Int(answered) }
        set { answered = UInt32(newValue) }
    }

    @inline(__always)
    init(action: Action = .none, client: ClientNumber = noClient, count: Int = 0, without: ClientNumber = noClient, code: Int32 = 0,
         write: Bool = false, precious: Bool = false, returnAll: Bool = false, data: DataFate = .used, held: HeldFate = .unchanged,
         holders: Bool = false, refusal: Refusal = .none) {
        self.action = action
        self.client = client
        answered = UInt32(count)
        self.without = without
        self.code = code
        self.write = write
        self.precious = precious
        self.returnAll = returnAll
        self.data = data
        self.held = held
        self.holders = holders
        self.refusal = refusal
    }

    static let nothing = Effects()
}
