// What a wide state says, as descriptors store it: small, and quick to compare.
//
// The access set takes two bits a client, from client 0 up (*dense*), or an entry of 32 bits for each client that has something (*sparse*), whichever is
// smaller. So a page that half of 64 clients read needs 16 bytes for them.
//
// Guarantees:
//   - The form is canonical: two contents have the same encoding exactly if they say the same of the page (PageContent.swift has what that is).
//   - `order` is a total order of contents. It depends on nothing but the content.
//   - `EncodedContent` is a view: it owns nothing and is void as soon as what it views changes.

/// The flags of a state in one byte.
struct ContentTraits: Equatable {
    let raw: UInt8

    init(raw: UInt8) { self.raw = raw }

    init(_ summary: ContentSummary, isDense: Bool) {
        let rest: Bool = summary.error != 0 || summary.queueCount != 0 || summary.pendingCount != 0
        var bits = summary.activity.rawValue
        if summary.isHeld { bits |= 8 }
        if summary.isInvalid { bits |= 16 }
        if summary.isWriteLocked { bits |= 32 }
        if rest { bits |= 64 }
        if isDense { bits |= 128 }
        raw = bits
    }

    var activity: Activity { Activity(rawValue: raw & 7).unsafelyUnwrapped }
    var isHeld: Bool { raw & 8 != 0 }
    var isInvalid: Bool { raw & 16 != 0 }
    var isWriteLocked: Bool { raw & 32 != 0 }
    /// There is an error, a queue or a pending error.
    var hasRest: Bool { raw & 64 != 0 }
    var isDense: Bool { raw & 128 != 0 }
}

/// What most states do not have.
struct ContentRest {
    var error: Int32 = 0
    var queueCount: UInt32 = 0
    var pendingCount: UInt32 = 0
    var unused: UInt32 = 0
}

struct EncodedContent {
    let traits: ContentTraits
    /// Words of the dense form, or entries of the sparse one. Neither is empty at its end.
    let units: UInt32
    let rest: ContentRest
    let access: UnsafeRawPointer
    let queueEntries: UnsafePointer<PackedEntry>
    let pendingErrors: UnsafePointer<PendingError>

    static let clientsPerWord: UInt32 = 32

    /// Bytes of the access set, whole multiples of 8.
    static func accessBytes(_ units: UInt32, isDense: Bool) -> Int {
        isDense ? Int(units) * 8 : (Int(units) * MemoryLayout<PackedEntry>.stride + 7) & ~7
    }

    private var words: UnsafePointer<UInt64> { access.assumingMemoryBound(to: UInt64.self) }
    var entries: UnsafePointer<PackedEntry> { access.assumingMemoryBound(to: PackedEntry.self) }

    // Read access, as in `PageState`.

    var activity: Activity { traits.activity }
    var isHeld: Bool { traits.isHeld }
    var isInvalid: Bool { traits.isInvalid }
    var isWriteLocked: Bool { traits.isWriteLocked }
    var error: Int32 { rest.error }
    var queueCount: Int { Int(rest.queueCount) }
    var pendingCount: Int { Int(rest.pendingCount) }
    var isAccessEmpty: Bool { units == 0 }
    var isQueueEmpty: Bool { rest.queueCount == 0 }

    /// No more clients than that have access.
    var accessLimit: UInt32 { traits.isDense ? units &* EncodedContent.clientsPerWord : units }

    /// In order of client numbers.
    @inline(__always)
    func forEachAccess(_ body: (ClientNumber, Access) -> Void) {
        if !traits.isDense {
            for index in 0..<Int(units) { body(entries[index].client, entries[index].access) }
            return
        }
        for index in 0..<units {
            var left = words[Int(index)]
            while left != 0 {
                let place = widen(left.trailingZeroBitCount) & ~1
                let access = Access(rawValue: UInt8(truncatingIfNeeded: (left &>> place) & 3)).unsafelyUnwrapped
                body(index &* EncodedContent.clientsPerWord &+ UInt32(truncatingIfNeeded: place &>> 1), access)
                left &= ~(3 &<< place)
            }
        }
    }

    func access(of client: ClientNumber) -> Access {
        if traits.isDense {
            let word = client / EncodedContent.clientsPerWord
            if word >= units { return .none }
            let place = widen(2 &* (client % EncodedContent.clientsPerWord))
            return Access(rawValue: UInt8(truncatingIfNeeded: (words[Int(word)] &>> place) & 3)).unsafelyUnwrapped
        }
        var found = Access.none
        forEachAccess { if $0 == client { found = $1 } }
        return found
    }

    var writer: ClientNumber {
        var found = noClient
        forEachAccess { if $1 == .write && found == noClient { found = $0 } }
        return found
    }

    var hasOutstanding: Bool {
        var found = false
        forEachAccess { if $1 == .write || $1 == .revoking { found = true } }
        return found
    }

    /// In order of arrival.
    func waiter(at index: Int) -> Waiter {
        assert(index >= 0 && index < queueCount)
        return queueEntries[index].waiter
    }

    func pendingError(of client: ClientNumber) -> Int32 {
        for index in 0..<pendingCount where pendingErrors[index].client == client { return pendingErrors[index].code }
        return 0
    }

    // Total order.

    /// Negative, 0 or positive, as `a` comes before `b`, is equal to it, or comes after it.
    /// What is quick to compare comes first.
    static func order(_ a: EncodedContent, _ b: EncodedContent) -> Int {
        if a.units != b.units { return a.units < b.units ? -1 : 1 }
        if a.traits != b.traits { return a.traits.raw < b.traits.raw ? -1 : 1 }
        if a.traits.hasRest {
            let result = order(a.rest, b.rest)
            if result != 0 { return result }
        }
        if a.traits.isDense {
            for index in 0..<Int(a.units) where a.words[index] != b.words[index] { return a.words[index] < b.words[index] ? -1 : 1 }
        } else {
            let result = order(a.entries, b.entries, Int(a.units))
            if result != 0 { return result }
        }
        if !a.traits.hasRest { return 0 }
        let result = order(a.queueEntries, b.queueEntries, a.queueCount)
        if result != 0 { return result }
        for index in 0..<a.pendingCount {
            let left = a.pendingErrors[index], right = b.pendingErrors[index]
            if left.client != right.client { return left.client < right.client ? -1 : 1 }
            if left.code != right.code { return left.code < right.code ? -1 : 1 }
        }
        return 0
    }

    private static func order(_ a: ContentRest, _ b: ContentRest) -> Int {
        if a.queueCount != b.queueCount { return a.queueCount < b.queueCount ? -1 : 1 }
        if a.pendingCount != b.pendingCount { return a.pendingCount < b.pendingCount ? -1 : 1 }
        return a.error == b.error ? 0 : (a.error < b.error ? -1 : 1)
    }

    private static func order(_ a: UnsafePointer<PackedEntry>, _ b: UnsafePointer<PackedEntry>, _ count: Int) -> Int {
        for index in 0..<count where a[index] != b[index] { return a[index].raw < b[index].raw ? -1 : 1 }
        return 0
    }
}

extension ScratchState {
    /// What the state says now; void after the next change, and when another is encoded here.
    var encoded: EncodedContent {
        let storage = storage.pointee, summary = storage.summary, count = Int(summary.accessCount)
        // The entries are sorted: the last has the greatest client.
        let words = count == 0 ? 0 : storage.access[count - 1].client / EncodedContent.clientsPerWord + 1
        let isDense = count > 0 && Int(words) * 8 <= count * MemoryLayout<PackedEntry>.stride
        if isDense {
            storage.map.update(repeating: 0, count: Int(words))
            for index in 0..<count {
                let entry = storage.access[index]
                let place = widen(2 &* (entry.client % EncodedContent.clientsPerWord))
                storage.map[Int(entry.client / EncodedContent.clientsPerWord)] |= widen(UInt32(entry.access.rawValue)) &<< place
            }
        }
        return EncodedContent(
            traits: ContentTraits(summary, isDense: isDense), units: isDense ? words : summary.accessCount,
            rest: ContentRest(error: summary.error, queueCount: summary.queueCount, pendingCount: summary.pendingCount),
            access: isDense ? UnsafeRawPointer(storage.map) : UnsafeRawPointer(storage.access),
            queueEntries: UnsafePointer(storage.queue), pendingErrors: UnsafePointer(storage.pending))
    }

    /// The state that the encoding says.
    func load(_ encoded: EncodedContent) {
        let capacity = storage.pointee.capacity, access = storage.pointee.access
        precondition(encoded.queueCount <= capacity && encoded.pendingCount <= capacity)
        var summary = ContentSummary()
        summary.activity = encoded.activity
        summary.isHeld = encoded.isHeld
        summary.isInvalid = encoded.isInvalid
        summary.isWriteLocked = encoded.isWriteLocked
        summary.error = encoded.error
        summary.queueCount = encoded.rest.queueCount
        summary.pendingCount = encoded.rest.pendingCount
        var count = 0
        encoded.forEachAccess { client, granted in
            precondition(count < capacity)
            access[count] = PackedEntry(client, granted)
            summary.note(granted, entered: true)
            count += 1
        }
        summary.accessCount = UInt32(count)
        storage.pointee.queue.update(from: encoded.queueEntries, count: encoded.queueCount)
        storage.pointee.pending.update(from: encoded.pendingErrors, count: encoded.pendingCount)
        self.summary = summary
    }
}
