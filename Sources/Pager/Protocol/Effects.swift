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

/// Two words, so that they are handed on in registers. (A structure of small fields would be put together and taken apart at each function.)
struct Effects: Equatable {
    /// Bits 0-31: the answered client, or how many of the queue are answered; bits 32-63: `without`, inverted.
    private(set) var who: UInt64 = 0
    /// Bits 0-31: `code`; above, the fields of `Place`.
    private(set) var what: UInt64 = 0

    private enum Place {
        static let action: UInt64 = 32, data: UInt64 = 36, held: UInt64 = 38, refusal: UInt64 = 40
        static let write: UInt64 = 43, precious: UInt64 = 44, returnAll: UInt64 = 45, holders: UInt64 = 46
        /// `who` is a client.
        static let isClient: UInt64 = 47
        /// It is that client that `count` says: the first of the queue.
        static let isCounted: UInt64 = 48
    }

    @inline(__always)
    private func field(_ place: UInt64, _ mask: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: what &>> place & mask) }

    @inline(__always)
    private mutating func setField(_ place: UInt64, _ mask: UInt64, _ value: UInt8) {
        what = what & ~(mask &<< place) | UInt64(value) &<< place
    }

    @inline(__always)
    private func flag(_ place: UInt64) -> Bool { what &>> place & 1 != 0 }

    @inline(__always)
    private mutating func setFlag(_ place: UInt64, _ value: Bool) { setField(place, 1, value ? 1 : 0) }

    @inline(__always)
    private var low: UInt32 {
        get { UInt32(truncatingIfNeeded: who) }
        set { who = who & ~0xffff_ffff | UInt64(newValue) }
    }

    /// The answered clients: this one, or, where it is `noClient`, the first `count` of the queue
    /// as it was before the event, `without` not counted (a client that is gone).
    @inline(__always)
    var client: ClientNumber {
        get { flag(Place.isClient) ? low : noClient }
        set {
            // (More than one client is more than a client's number can say.)
            let counted = count
            assert(newValue == noClient || counted < 2)
            setFlag(Place.isClient, newValue != noClient)
            setFlag(Place.isCounted, newValue != noClient && counted != 0)
            low = newValue != noClient ? newValue : UInt32(truncatingIfNeeded: counted)
        }
    }

    @inline(__always)
    var count: Int {
        get { flag(Place.isClient) ? flag(Place.isCounted) ? 1 : 0 : Int(low) }
        set { if flag(Place.isClient) { setFlag(Place.isCounted, newValue != 0) } else { low = UInt32(truncatingIfNeeded: newValue) } }
    }

    @inline(__always)
    var without: ClientNumber {
        get { ~UInt32(truncatingIfNeeded: who &>> 32) }
        set { who = who & 0xffff_ffff | UInt64(~newValue) &<< 32 }
    }

    /// `.error`: the code. Not zero.
    @inline(__always)
    var code: Int32 {
        get { Int32(truncatingIfNeeded: what) }
        set { what = what & ~0xffff_ffff | UInt64(UInt32(bitPattern: newValue)) }
    }

    @inline(__always)
    var action: Action {
        // (As it was set. `Action(rawValue:)` is a call.)
        get { unsafeBitCast(field(Place.action, 15), to: Action.self) }
        set { setField(Place.action, 15, newValue.rawValue) }
    }

    @inline(__always)
    var data: DataFate {
        get { unsafeBitCast(field(Place.data, 3), to: DataFate.self) }
        set { setField(Place.data, 3, newValue.rawValue) }
    }

    @inline(__always)
    var held: HeldFate {
        get { unsafeBitCast(field(Place.held, 3), to: HeldFate.self) }
        set { setField(Place.held, 3, newValue.rawValue) }
    }

    @inline(__always)
    var refusal: Refusal {
        get { unsafeBitCast(field(Place.refusal, 7), to: Refusal.self) }
        set { setField(Place.refusal, 7, newValue.rawValue) }
    }

    /// `.supply*`: writing is permitted.
    @inline(__always)
    var write: Bool {
        get { flag(Place.write) }
        set { setFlag(Place.write, newValue) }
    }

    /// `.supply*`: evictions of the page must be told.
    @inline(__always)
    var precious: Bool {
        get { flag(Place.precious) }
        set { setFlag(Place.precious, newValue) }
    }

    /// `.flush`: precious pages come back though they are clean.
    @inline(__always)
    var returnAll: Bool {
        get { flag(Place.returnAll) }
        set { setFlag(Place.returnAll, newValue) }
    }

    /// Somebody has the page, or its eviction is still to be told, should nobody get it after all; goes back in
    /// `Context.hadHolders` with the report.
    @inline(__always)
    var holders: Bool {
        get { flag(Place.holders) }
        set { setFlag(Place.holders, newValue) }
    }

    /// What is answered or asked, is all there is: no data to be dealt with, nothing refused, the write-back not concerned.
    @inline(__always)
    var isPlain: Bool {
        what & (3 &<< Place.data | 3 &<< Place.held | 7 &<< Place.refusal) == 0
    }

    @inline(__always)
    init(action: Action = .none, client: ClientNumber = noClient, count: Int = 0, without: ClientNumber = noClient, code: Int32 = 0,
         write: Bool = false, precious: Bool = false, returnAll: Bool = false, data: DataFate = .used, held: HeldFate = .unchanged,
         holders: Bool = false, refusal: Refusal = .none) {
        self.action = action
        self.count = count
        self.client = client
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

    /// As they were (`who`, `what`).
    @inline(__always)
    init(who: UInt64, what: UInt64) {
        self.who = who
        self.what = what
    }

    @inline(__always)
    static var nothing: Effects { Effects(who: 0, what: 0) }
}
