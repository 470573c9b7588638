// The page word: 32 bits that say all there is to say of a page with up to four clients.
// After the page map proposal (B. Baccala, 2017).
//
//   bit      0   tag: 1 the word is the state itself, 0 the word refers to a shared descriptor
//   bits  1- 8   access set: two bits for each of clients 0-3 (`Access`)
//   bits  9-24   waiting queue: four slots of four bits in order of arrival, the first lowest:
//                used, client (2 bits), for writing
//   bits 25-27   activity (`Activity`)
//   bit     28   invalid on the backing store
//   bits 29-30   error: none, EIO, ENOSPC, EDQUOT
//   bit     31   held: the write-back queue has the newest version
//
// Bit 28 without an error means *write-locked* (an invalid page always has an error, so the
// combination is free). A page that is both goes to a descriptor.
//
// Named words:
//
//   0x00000000                  untouched: nobody ever asked for the page
//   tag                         at rest, no client has it
//   tag | access                at rest, these clients have it
//   tag | access | pagingIn     a client that is alone asked; it is granted on delivery
//   tag | queue | pagingIn      clients asked; the page is being read for the first of them
//   tag | access | pagingOut    a returned page is being written by the thread that received it
//   tag | access | held         at rest for the clients; a version waits to be written
//   even, not zero              the descriptor number is the word >> 1

/// A page's word as it stands in the page map.
struct Word: Equatable {
    let raw: UInt32

    /// Only `WordState` (direct words), `init(descriptor:)` and the map itself make words.
    fileprivate init(direct raw: UInt32) { self.raw = raw }

    /// The word as loaded from the page map.
    init(loaded raw: UInt32) { self.raw = raw }

    /// Refers to the descriptor with this number, from 1 to `maximumDescriptor`.
    init(descriptor number: UInt32) {
        precondition(number > 0 && number <= Word.maximumDescriptor)
        raw = number << 1
    }

    static let maximumDescriptor: UInt32 = (1 << 31) - 1
    static let untouched = Word(direct: 0)
    /// At rest, nobody has it, nothing to remember.
    static let resting = Word(direct: 1)

    var isDescriptor: Bool { raw & 1 == 0 && raw != 0 }
    var descriptor: UInt32 { raw >> 1 }
    /// Of a direct word: the write-back has a version of the page.
    var isHeld: Bool { raw & WordLayout.heldBit != 0 }
    /// The same, and nobody is at work on the page.
    var isHeldAtRest: Bool { raw & (WordLayout.heldBit | WordLayout.activityMask) == WordLayout.heldBit }
}

/// Where each field lies. `widthsAddUp` is checked by the tests and, being constant, costs nothing.
enum WordLayout {
    static let clients: UInt32 = 4
    static let accessShift: UInt32 = 1, accessWidth: UInt32 = 2 * clients
    static let queueShift: UInt32 = accessShift + accessWidth, slotWidth: UInt32 = 4
    static let queueWidth: UInt32 = slotWidth * clients
    static let activityShift: UInt32 = queueShift + queueWidth, activityWidth: UInt32 = 3
    static let invalidShift: UInt32 = activityShift + activityWidth
    static let errorShift: UInt32 = invalidShift + 1, errorWidth: UInt32 = 2
    static let heldShift: UInt32 = errorShift + errorWidth

    static let accessMask: UInt32 = ((1 << accessWidth) - 1) << accessShift
    static let queueMask: UInt32 = ((1 << queueWidth) - 1) << queueShift
    static let activityMask: UInt32 = ((1 << activityWidth) - 1) << activityShift
    static let invalidBit: UInt32 = 1 << invalidShift
    static let errorMask: UInt32 = ((1 << errorWidth) - 1) << errorShift
    static let heldBit: UInt32 = 1 << heldShift
    /// The low bit of each client's access field.
    static let accessLow: UInt32 = 0x55 << accessShift

    static var widthsAddUp: Bool { heldShift == 31 }
}

/// A direct word being looked at or changed. Value type; the result goes back with `word`.
struct WordState {
    private(set) var raw: UInt32
    private(set) var overflowed = false

    /// `word` must not refer to a descriptor.
    init(_ word: Word) {
        assert(!word.isDescriptor)
        raw = word.raw | 1
    }

    /// The word to store. The state must not have overflowed.
    var word: Word {
        // Checked in release builds as well: an overflowed state is not the page's.
        precondition(!overflowed)
        return Word(direct: raw)
    }

    private mutating func set(_ mask: UInt32, _ value: UInt32) { raw = (raw & ~mask) | value }

    private static func accessPosition(_ client: ClientNumber) -> UInt32 {
        WordLayout.accessShift + 2 * client
    }

    private var queue: UInt32 {
        get { (raw & WordLayout.queueMask) >> WordLayout.queueShift }
        set { set(WordLayout.queueMask, newValue << WordLayout.queueShift) }
    }

    private static func slot(_ queue: UInt32, _ index: UInt32) -> UInt32 {
        (queue >> (WordLayout.slotWidth * index)) & 0xf
    }

    /// The waiter at this place of the queue; the slot must be in use.
    func waiter(at index: Int) -> Waiter {
        let slot = WordState.slot(queue, UInt32(index))
        assert(slot & 1 == 1)
        return Waiter(client: (slot >> 1) & 3, write: slot & 8 != 0)
    }
}

extension WordState: PageState {
    var activity: Activity {
        get { Activity(rawValue: UInt8((raw & WordLayout.activityMask) >> WordLayout.activityShift)).unsafelyUnwrapped }
        set { set(WordLayout.activityMask, UInt32(newValue.rawValue) << WordLayout.activityShift) }
    }

    var isHeld: Bool {
        get { raw & WordLayout.heldBit != 0 }
        set { set(WordLayout.heldBit, newValue ? WordLayout.heldBit : 0) }
    }

    // Bit 28 together with an error: invalid; alone: write-locked.

    var isInvalid: Bool {
        get { raw & WordLayout.invalidBit != 0 && raw & WordLayout.errorMask != 0 }
        set {
            if newValue {
                // The error must be set before; a locked page cannot be invalid as well.
                if raw & WordLayout.errorMask == 0 { overflowed = true }
                raw |= WordLayout.invalidBit
            } else if isInvalid {
                raw &= ~WordLayout.invalidBit
            }
        }
    }

    var isWriteLocked: Bool {
        get { raw & WordLayout.invalidBit != 0 && raw & WordLayout.errorMask == 0 }
        set {
            if newValue {
                if raw & WordLayout.errorMask != 0 { overflowed = true }
                raw |= WordLayout.invalidBit
            } else if isWriteLocked {
                raw &= ~WordLayout.invalidBit
            }
        }
    }

    var error: Int32 {
        get { WordError.code((raw & WordLayout.errorMask) >> WordLayout.errorShift) }
        set {
            guard let field = WordError.field(newValue) else { overflowed = true; return }
            if field != 0 && isWriteLocked { overflowed = true }
            if field == 0 && isInvalid { raw &= ~WordLayout.invalidBit }
            set(WordLayout.errorMask, field << WordLayout.errorShift)
        }
    }

    func pendingError(of client: ClientNumber) -> Int32 { 0 }

    mutating func setPendingError(_ code: Int32, of client: ClientNumber) {
        if code != 0 { overflowed = true }
    }

    func access(of client: ClientNumber) -> Access {
        if client >= WordLayout.clients { return .none }
        return Access(rawValue: UInt8((raw >> WordState.accessPosition(client)) & 3)).unsafelyUnwrapped
    }

    mutating func setAccess(_ access: Access, of client: ClientNumber) {
        guard client < WordLayout.clients else {
            if access != .none { overflowed = true }
            return
        }
        let position = WordState.accessPosition(client)
        set(3 << position, UInt32(access.rawValue) << position)
    }

    var isAccessEmpty: Bool { raw & WordLayout.accessMask == 0 }

    func hasHolders(except client: ClientNumber) -> Bool {
        var others = raw & WordLayout.accessMask
        if client < WordLayout.clients { others &= ~(3 << WordState.accessPosition(client)) }
        return others != 0
    }

    var writer: ClientNumber {
        let writers = raw & (raw >> 1) & WordLayout.accessLow
        if writers == 0 { return noClient }
        return (UInt32(writers.trailingZeroBitCount) - WordLayout.accessShift) / 2
    }

    var hasOutstanding: Bool { raw & (WordLayout.accessLow << 1) != 0 }

    /// Bit 2n: client n is `.revoking` or has `.write`.
    @inline(__always)
    var outstanding: UInt32 { (raw & (WordLayout.accessLow << 1)) >> (WordLayout.accessShift + 1) }

    mutating func revokeAll(except client: ClientNumber) {
        for other in 0..<WordLayout.clients where other != client && access(of: other) != .none {
            if access(of: other) == .read { setAccess(.revoking, of: other) }
            removeUnlock(of: other)
        }
    }

    var isQueueEmpty: Bool { raw & WordLayout.queueMask == 0 }

    var queueCount: Int {
        let used = queue & 0x1111
        return used.nonzeroBitCount
    }

    var head: Waiter { waiter(at: 0) }

    var leadingReaders: Int {
        var count = 0
        while count < Int(WordLayout.clients) {
            let slot = WordState.slot(queue, UInt32(count))
            if slot & 9 != 1 || access(of: (slot >> 1) & 3) != .none { break }
            count += 1
        }
        return count
    }

    mutating func enqueue(_ waiter: Waiter) {
        guard waiter.client < WordLayout.clients else { overflowed = true; return }
        let queue = queue
        var index: UInt32 = 0
        while index < WordLayout.clients {
            let slot = WordState.slot(queue, index)
            if slot & 1 == 0 { break }
            if (slot >> 1) & 3 == waiter.client {
                if waiter.write { self.queue = queue | 8 << (WordLayout.slotWidth * index) }
                return
            }
            index += 1
        }
        // A client waits at most once (P2), so four clients fit in four slots.
        assert(index < WordLayout.clients)
        let slot = 1 | waiter.client << 1 | (waiter.write ? 8 : 0)
        self.queue = queue | slot << (WordLayout.slotWidth * index)
    }

    mutating func removeWaiter(_ client: ClientNumber) { remove(client, 1) }

    mutating func removeUnlock(of client: ClientNumber) { remove(client, 9) }

    /// The client's slot, if these bits of it are set.
    private mutating func remove(_ client: ClientNumber, _ bits: UInt32) {
        let queue = queue
        for index in 0..<WordLayout.clients {
            let slot = WordState.slot(queue, index)
            if slot & bits == bits && (slot >> 1) & 3 == client {
                let below = (UInt32(1) << (WordLayout.slotWidth * index)) - 1
                self.queue = (queue & below) | ((queue >> WordLayout.slotWidth) & ~below)
                return
            }
        }
    }

    mutating func removeFirst(_ count: Int) { queue >>= WordLayout.slotWidth * UInt32(count) }

    mutating func grantFirst(_ count: Int, _ access: Access) {
        for index in 0..<count { setAccess(access, of: waiter(at: index).client) }
        removeFirst(count)
    }
}
