// Moves of pages whose state is in the word, with more clients than one: what the rules said, remembered, as descriptors' edges remember it.
//
// The rules are a pure function, so a word and an event (with the context, as `Event.edgeKey` has it) always lead to the same word and effects. An
// object in use by a few clients goes through a few dozen such moves.
//
// Guarantees:
//   - A move is what `PageProtocol.step` said. It is *plain* if the service may follow it without the lock: neither the write-back nor a
//     descriptor is concerned, nobody is asked for a page, and what came with the event is used. Of others no more is said.
//   - Finding one takes no lock. A move never changes and is never taken away; there are at most `places`, and what finds no place
//     is not remembered.

import CPlatform
import Synchronization

struct WordMove {
    let key: UInt64
    let word: UInt32
    let new: UInt32
    let isPlain: Bool
    let effects: Effects
}

struct WordMoves {
    /// Addresses of moves; 0: none yet.
    let slots: UnsafeMutablePointer<Atomic<UInt>>

    private static let placeBits: UInt32 = 7
    private static let places = 128

    /// nil: memory is exhausted.
    static func create() -> WordMoves? {
        guard let block = Memory.allocateBytes(places * MemoryLayout<UInt>.stride) else { return nil }
        return WordMoves(slots: block.bindMemory(to: Atomic<UInt>.self, capacity: places))
    }

    private init(slots: UnsafeMutablePointer<Atomic<UInt>>) { self.slots = slots }

    @inline(__always)
    init?(_ address: UInt) {
        guard let slots = UnsafeMutablePointer<Atomic<UInt>>(bitPattern: address) else { return nil }
        self.slots = slots
    }

    func destroy() {
        for place in 0..<WordMoves.places { platform_free(UnsafeMutableRawPointer(bitPattern: slots[place].load(ordering: .relaxed))) }
        Memory.free(slots)
    }

    @inline(__always)
    private static func place(_ word: UInt32, _ key: UInt64) -> Int {
        let mixed = UInt32(truncatingIfNeeded: key) &+ UInt32(truncatingIfNeeded: key &>> 32) &* 31 &+ word &* 0x85eb_ca6b
        return Int(truncatingIfNeeded: (mixed &* 0x9e37_79b1) &>> (32 &- placeBits))
    }

    @inline(__always)
    private func move(_ place: Int) -> UnsafePointer<WordMove>? {
        UnsafePointer(bitPattern: slots[place].load(ordering: .acquiring))
    }

    @inline(__always)
    func find(_ word: UInt32, _ key: UInt64) -> UnsafePointer<WordMove>? {
        let place = WordMoves.place(word, key)
        guard let first = move(place) else { return nil }
        if first.pointee.word == word && first.pointee.key == key { return first }
        guard let second = move(place ^ 1) else { return nil }
        return second.pointee.word == word && second.pointee.key == key ? second : nil
    }

    func hasRoom(_ word: UInt32, _ key: UInt64) -> Bool {
        let place = WordMoves.place(word, key)
        return move(place) == nil || move(place ^ 1) == nil
    }

    /// Into the first of the two places that is free; false: neither is. Locked.
    func add(_ move: UnsafeMutablePointer<WordMove>) -> Bool {
        var place = WordMoves.place(move.pointee.word, move.pointee.key)
        if slots[place].load(ordering: .relaxed) != 0 { place ^= 1 }
        if slots[place].load(ordering: .relaxed) != 0 { return false }
        slots[place].store(UInt(bitPattern: move), ordering: .releasing)
        return true
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// nil: the move is not plain, or there is no place for it.
    @inline(__always)
    func wordMove(_ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> UnsafePointer<WordMove>? {
        if let moves = WordMoves(pointee.wordMoves.load(ordering: .acquiring)), let known = moves.find(word.raw, key) {
            return known.pointee.isPlain ? known : nil
        }
        return learn(word, event, key, context)
    }

    @inline(never)
    private func learn(_ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> UnsafePointer<WordMove>? {
        if let moves = WordMoves(pointee.wordMoves.load(ordering: .acquiring)), !moves.hasRoom(word.raw, key) { return nil }
        var state = WordState(word)
        if key == 0 || state.isHeld { return nil }
        let first = state.isQueueEmpty ? noClient : state.head.client
        var effects = PageProtocol.step(&state, event, context)
        var isPlain = !state.overflowed && !state.isHeld && effects.held == .unchanged && effects.data == .used
            && effects.refusal == .none && effects.action != .flush && effects.action != .downgrade
        if effects.count > 0 && effects.client == noClient {
            // (More than one client is more than a client's number can say.)
            if effects.count > 1 || effects.without != noClient { isPlain = false }
            effects.client = first
        }
        if isPlain { state.checkInvariants() }
        let new = isPlain ? state.word.raw : 0
        guard let made = Memory.allocate(WordMove.self, 1) else { return nil }
        made.initialize(to: WordMove(key: key, word: word.raw, new: new, isPlain: isPlain, effects: effects))
        pointee.monitor.lock()
        var moves = WordMoves(pointee.wordMoves.load(ordering: .relaxed))
        if moves == nil {
            moves = WordMoves.create()
            if let moves { pointee.wordMoves.store(UInt(bitPattern: moves.slots), ordering: .releasing) }
        }
        let isAdded = moves?.add(made) ?? false
        pointee.monitor.unlock()
        if isAdded { return isPlain ? UnsafePointer(made) : nil }
        Memory.free(made)
        return nil
    }
}
