// Moves that were made from a descriptor, or from a word to a descriptor, before, so that the usual case neither applies the rules nor searches.
//
// Guarantees:
//   - A remembered move leads to the word that `store` would have given, with the payload that came with it; one
//     whose target was freed is never followed, although the target's number may be in use again: each
//     descriptor has a serial number that is never used twice.
//   - Remembering takes no reference and may silently not happen (memory exhausted); it is a cache and no more.
//   - What is remembered at a descriptor goes with it. Moves from words share a few places: a newer one takes an older one's.

import CPlatform

/// What the caller wants to know again of a move (its effects, encoded).
struct EdgePayload: Equatable {
    var a: UInt64 = 0
    var b: UInt64 = 0
}

/// A move from one descriptor to a word.
struct Edge {
    /// The event and all else that the move depends on, as the caller encodes it.
    var key: UInt64 = 0
    /// The target's serial number; 0 where the target is a direct word.
    var serial: UInt64 = 0
    var payload = EdgePayload()
    /// The target. 0 (which no move leads to): the place is free.
    var target: UInt32 = 0
    /// What the caller said of it.
    var isPlain = false
}

struct EdgeHit: Equatable {
    /// Where it refers to a descriptor, a reference was taken, as by `store`.
    let word: Word
    let payload: EdgePayload
}

/// The edges of one descriptor, in a block of their own: most descriptors of a small object have none.
struct DescriptorEdges {
    static let count = 4

    // (At the beginning: `UnsafeMutablePointer.first`.)
    private var first = Edge(), second = Edge(), third = Edge(), fourth = Edge()
    /// Which edge gives way next, when all are in use.
    private var victim: UInt32 = 0

    mutating func nextVictim() -> Int {
        defer { victim = (victim + 1) % UInt32(DescriptorEdges.count) }
        return Int(victim)
    }
}

/// Moves from words to descriptors.
struct WordEdges {
    struct Place {
        // (At the beginning: `DescriptorTable.edge`.)
        var edge = Edge()
        var word: UInt32 = 0
    }

    /// nil: none was remembered yet.
    fileprivate var places: UnsafeMutablePointer<Place>?

    private static let placeBits: UInt32 = 5
    private static let count = 1 << Int(placeBits)

    func destroy() { Memory.free(places) }

    var bytes: Int { places == nil ? 0 : WordEdges.count * MemoryLayout<Place>.stride }

    @inline(__always)
    fileprivate func place(_ word: Word, _ key: UInt64) -> UnsafeMutablePointer<Place>? {
        guard let places else { return nil }
        let mixed = UInt32(truncatingIfNeeded: key) &+ UInt32(truncatingIfNeeded: key &>> 32) &* 31 &+ word.raw &* 0x85eb_ca6b
        return places + Int(truncatingIfNeeded: (mixed &* 0x9e37_79b1) &>> (32 &- WordEdges.placeBits))
    }

    /// Memory exhausted: there are none.
    fileprivate mutating func make() {
        places = Memory.allocate(Place.self, WordEdges.count)
        places?.initialize(repeating: Place(), count: WordEdges.count)
    }
}

extension UnsafeMutablePointer where Pointee == DescriptorEdges {
    /// The edges lie one behind the other.
    @inline(__always)
    fileprivate var first: UnsafeMutablePointer<Edge> { UnsafeMutableRawPointer(self).assumingMemoryBound(to: Edge.self) }
}

extension DescriptorTable {
    /// The move with this key that was remembered at a descriptor, if its target is still there.
    /// Takes a reference of the target for the caller.
    func lookup(_ number: UInt32, key: UInt64) -> EdgeHit? { lookup(descriptor(number).pointer, key: key) }

    @inline(__always)
    func lookup(_ from: DescriptorPointer, key: UInt64) -> EdgeHit? {
        guard let edge = edge(from, key) else { return nil }
        return follow(edge)
    }

    /// The edge with this key, whether or not its target is still there.
    @inline(__always)
    func edge(_ from: DescriptorPointer, _ key: UInt64) -> UnsafeMutablePointer<Edge>? {
        core.pointee.statistics.edgeLookups &+= 1
        guard let first = from.pointee.edges?.first else { return nil }
        // (A free place has key 0 or its target says so.)
        if first[0].key == key && first[0].target != 0 { return first }
        if first[1].key == key && first[1].target != 0 { return first + 1 }
        if first[2].key == key && first[2].target != 0 { return first + 2 }
        if first[3].key == key && first[3].target != 0 { return first + 3 }
        return nil
    }

    /// The same from a word that is the state itself.
    @inline(__always)
    func edge(_ word: Word, _ key: UInt64) -> UnsafeMutablePointer<Edge>? {
        core.pointee.statistics.edgeLookups &+= 1
        guard let place = core.pointee.wordEdges.place(word, key), place.pointee.word == word.raw, place.pointee.edge.key == key,
              place.pointee.edge.target != 0 else { return nil }
        return UnsafeMutableRawPointer(place).assumingMemoryBound(to: Edge.self)
    }

    @inline(__always)
    func lookup(_ word: Word, key: UInt64) -> EdgeHit? { edge(word, key).flatMap { follow($0) } }

    /// Remembers that the event `key` leads from this word to `target`, which refers to a live descriptor.
    func remember(_ word: Word, key: UInt64, target: Word, payload: EdgePayload, isPlain: Bool = false) {
        if !target.isDescriptor { return }
        if core.pointee.wordEdges.places == nil { core.pointee.wordEdges.make() }
        let serial = descriptor(target.descriptor).pointer.pointee.serial
        core.pointee.wordEdges.place(word, key)?.pointee = WordEdges.Place(
            edge: Edge(key: key, serial: serial, payload: payload, target: target.raw, isPlain: isPlain), word: word.raw)
    }

    /// nil: the target is gone.
    @inline(__always)
    func follow(_ edge: UnsafeMutablePointer<Edge>) -> EdgeHit? {
        let word = Word(loaded: edge.pointee.target)
        if word.isDescriptor {
            guard let target = present(word.descriptor), target.pointee.serial == edge.pointee.serial else {
                edge.pointee = Edge()
                core.pointee.statistics.staleEdges &+= 1
                return nil
            }
            retain(target)
        }
        core.pointee.statistics.edgeHits &+= 1
        return EdgeHit(word: word, payload: edge.pointee.payload)
    }

    /// Remembers that the event `key` leads from a descriptor to `target`, which is a direct word or refers to a live
    /// descriptor. A move with the same key is replaced.
    func remember(_ number: UInt32, key: UInt64, target: Word, payload: EdgePayload, isPlain: Bool = false) {
        assert(target != Word.untouched)
        let pointer = descriptor(number).pointer
        if pointer.pointee.edges == nil {
            guard let edges = Memory.allocate(DescriptorEdges.self, 1) else { return }
            edges.initialize(to: DescriptorEdges())
            pointer.pointee.edges = edges
            core.pointee.statistics.descriptorBytes += MemoryLayout<DescriptorEdges>.stride
        }
        let edges = pointer.pointee.edges.unsafelyUnwrapped
        let serial = target.isDescriptor ? descriptor(target.descriptor).pointer.pointee.serial : 0
        let index = place(edges, key)
        edges.first[index] = Edge(key: key, serial: serial, payload: payload, target: target.raw, isPlain: isPlain)
    }

    /// Where an edge with this key goes: over its predecessor, else into a free or a stale place, else over the
    /// one whose turn it is.
    private func place(_ edges: UnsafeMutablePointer<DescriptorEdges>, _ key: UInt64) -> Int {
        var unused: Int?
        for index in 0..<DescriptorEdges.count {
            let edge = edges.first[index]
            if edge.target != 0 && edge.key == key { return index }
            if unused == nil && (edge.target == 0 || !isCurrent(edge)) { unused = index }
        }
        return unused ?? edges.pointee.nextVictim()
    }

    private func isCurrent(_ edge: Edge) -> Bool {
        let word = Word(loaded: edge.target)
        if !word.isDescriptor { return true }
        guard let target = existing(word.descriptor) else { return false }
        return target.pointee.serial == edge.serial
    }
}
