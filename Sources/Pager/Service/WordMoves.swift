// Moves of pages whose state is in the word: what the rules said, remembered, as descriptors' edges remember it.
//
// The rules are a pure function, so a word and an event (with the context, as `Event.edgeKey` has it) always lead to the same word and effects,
// whatever the pager. Objects in use by a few clients go through a few dozen such moves. One table serves all pagers of the process.
//
// Guarantees:
//   - A move is what `PageProtocol.step` said; `reach` says who may follow it.
//   - Finding one takes no lock, nor does remembering one. A move never changes and is never taken away; there are at most `places`, and what
//     finds no place is worked out each time.

import CPlatform
import Synchronization

/// Who may follow a move.
enum MoveReach: UInt32 {
    /// The short ways: no lock is needed, at most one client is answered, what came with the event is used, and nothing is refused.
    case plain
    /// Without the lock: neither the write-back nor a descriptor is concerned, and nobody is asked for a page.
    case free
    /// Under the lock.
    case locked
    /// The state after it does not fit a word.
    case beyond

    @inline(__always)
    var isLocked: Bool { rawValue >= MoveReach.locked.rawValue }
}

/// Where a move is remembered.
struct MovePlace: ~Copyable {
    /// `free`, `begun` (being filled), or, for ever, `filled` and the move's reach.
    let filling = Atomic<UInt32>(MovePlace.free)
    fileprivate var word: UInt32 = 0
    fileprivate var key: UInt64 = 0
    fileprivate var effects = Effects.nothing
    fileprivate var new: UInt32 = 0

    fileprivate static let free: UInt32 = 0, begun: UInt32 = 1, filled: UInt32 = 2
}

struct WordMove {
    fileprivate let place: UnsafeMutablePointer<MovePlace>

    @inline(__always)
    var reach: MoveReach {
        MoveReach(rawValue: place.pointee.filling.load(ordering: .relaxed) &- MovePlace.filled).unsafelyUnwrapped
    }

    /// The word after it, unless that is `beyond`.
    @inline(__always)
    var new: Word { Word(loaded: place.pointee.new) }

    /// A single client that is answered is named.
    @inline(__always)
    var effects: Effects { place.pointee.effects }
}

struct WordMoves {
    private let table: UnsafeMutablePointer<MovePlace>

    private static let placeBits: UInt32 = 8
    private static let places = 1 << Int(placeBits)

    /// The process's table, which begins as zeros: all places free.
    static var shared: WordMoves {
        assert(places * MemoryLayout<MovePlace>.stride <= platform_shared_bytes)
        return WordMoves(table: platform_shared_memory().assumingMemoryBound(to: MovePlace.self))
    }

    /// The move of a word that is the state itself. nil: it is not remembered.
    @inline(__always)
    func move(_ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> WordMove? {
        let first = table + WordMoves.place(word.raw, key)
        if isMove(first, word, key) { return WordMove(place: first) }
        return search(first, word, event, key, context)
    }

    @inline(never)
    private func search(_ first: UnsafeMutablePointer<MovePlace>, _ word: Word, _ event: Event, _ key: UInt64,
                        _ context: Context) -> WordMove? {
        let second = table + ((first - table) ^ 1)
        if isMove(second, word, key) { return WordMove(place: second) }
        if key == 0 { return nil }
        if learn(first, word, event, key, context) { return WordMove(place: first) }
        return learn(second, word, event, key, context) ? WordMove(place: second) : nil
    }

    /// A move has a place and the one beside it.
    @inline(__always)
    private static func place(_ word: UInt32, _ key: UInt64) -> Int {
        let mixed = UInt32(truncatingIfNeeded: key) &+ UInt32(truncatingIfNeeded: key &>> 32) &* 31 &+ word &* 0x85eb_ca6b
        return Int(truncatingIfNeeded: (mixed &* 0x9e37_79b1) &>> (32 &- placeBits))
    }

    @inline(__always)
    private func isMove(_ place: UnsafeMutablePointer<MovePlace>, _ word: Word, _ key: UInt64) -> Bool {
        place.pointee.filling.load(ordering: .acquiring) >= MovePlace.filled && place.pointee.word == word.raw && place.pointee.key == key
    }

    /// false: the place is another's.
    private func learn(_ place: UnsafeMutablePointer<MovePlace>, _ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> Bool {
        // (Two threads may learn a move at once, and it is in both of its places.)
        if !place.pointee.filling.compareExchange(expected: MovePlace.free, desired: MovePlace.begun, ordering: .acquiring).exchanged {
            return false
        }
        var state = WordState(word)
        let wasHeld = state.isHeld, head = state.isQueueEmpty ? noClient : state.head.client
        var effects = PageProtocol.step(&state, event, context)
        if effects.count == 1 && effects.client == noClient && effects.without == noClient { effects.client = head }
        place.pointee.word = word.raw
        place.pointee.key = key
        place.pointee.effects = effects
        if !state.overflowed {
            state.checkInvariants()
            place.pointee.new = state.word.raw
        }
        let reach = WordMoves.reach(effects, state, wasHeld)
        place.pointee.filling.store(MovePlace.filled &+ reach.rawValue, ordering: .releasing)
        return true
    }

    static func reach(_ effects: Effects, _ after: WordState, _ wasHeld: Bool) -> MoveReach {
        if after.overflowed { return .beyond }
        // While clients are asked nobody owns the page: only under the lock it is certain whom the word means (`Outcome.means`).
        if wasHeld || after.isHeld || effects.held != .unchanged || effects.action == .flush || effects.action == .downgrade { return .locked }
        // (More than one client is more than a client's number can say.)
        let isOne = effects.count == 0 || effects.client != noClient
        return isOne && effects.isPlain ? .plain : .free
    }
}
