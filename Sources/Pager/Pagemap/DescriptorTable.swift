// A pager's shared descriptors: number to descriptor, and content to number.
//
// Guarantees:
//   - Equal content, equal number: while a descriptor lives, `intern` answers its number for every state
//     that says the same.
//   - Every number handed out (`intern`, `store`, `lookup`) carries one reference, meant for the page word that will
//     hold it; `release` gives it back, and the last one frees the descriptor and its number, or keeps it for the next page that comes
//     into the same condition: a bounded number of them (UnusedDescriptors.swift).
//   - Memory exhausted: nil, and nothing has changed. The `Waiting` forms wait instead, for what must not be lost.
//   - Slots and descriptors never move: a pointer stays good until the descriptor's last reference goes.
//
// Every call but `referenced` is made under the pager's lock; nothing here is atomic. A `DescriptorTable` is a handle: copies of it are
// the same table.

import CPlatform

struct DescriptorStatistics: Equatable {
    /// Descriptors that pages are in, those that are kept though none is, and the bytes of both with their edges.
    var live = 0
    var unused = 0
    var descriptorBytes = 0
    /// Calls of `intern`, and how many of them found a descriptor.
    var lookups: UInt64 = 0
    var found: UInt64 = 0
    /// Calls of `lookup`, how many found a move, and how many found one whose target was gone.
    var edgeLookups: UInt64 = 0
    var edgeHits: UInt64 = 0
    var staleEdges: UInt64 = 0
}

struct DescriptorTable {
    struct Slot {
        /// The descriptor's address; or, with bit 0 set, twice the next free number (0: there is none); 0: the number was never used.
        private var link: UInt = 0

        init() {}

        /// nil: the number is free.
        @inline(__always)
        var descriptor: DescriptorPointer? {
            get { link & 1 == 0 ? DescriptorPointer(bitPattern: link) : nil }
            set { link = UInt(bitPattern: newValue) }
        }

        /// The same for a number that was in use once.
        @inline(__always)
        var present: DescriptorPointer? { link & 1 == 0 ? DescriptorPointer(bitPattern: link).unsafelyUnwrapped : nil }

        /// Of a free number. 0: none.
        var nextFree: UInt32 {
            get { link & 1 == 0 ? 0 : UInt32(truncatingIfNeeded: link &>> 1) }
            set { link = UInt(newValue) &<< 1 | 1 }
        }
    }

    typealias Chunk = UnsafeMutablePointer<Slot>

    struct Core {
        var tree = DescriptorTree()
        /// Chunk k has `firstChunk << k` slots; the last ones are nil until they are needed.
        var chunks: UnsafeMutablePointer<Chunk?>
        /// Numbers 1...numbersUsed have been given out at least once.
        var numbersUsed: UInt32 = 0
        /// Head of the list of free numbers, or 0.
        var firstFree: UInt32 = 0
        /// 0 is no descriptor's.
        var nextSerial: UInt64 = 1
        var chunkBytes = 0
        var statistics = DescriptorStatistics()
        var scratch: ScratchState
        var snapshot: ScratchState
        var unused: UnusedDescriptors
        var wordEdges = WordEdges()
    }

    let core: UnsafeMutablePointer<Core>

    private static let firstChunk: UInt32 = 64
    private static let maximumChunks = 26

    /// An empty table. `keeping`: so many descriptors without pages at the most. nil: memory is exhausted.
    static func create(keeping limit: Int = 0) -> DescriptorTable? {
        guard let unused = UnusedDescriptors(limit) else { return nil }
        guard let scratch = ScratchState.create() else {
            unused.destroy()
            return nil
        }
        guard let snapshot = ScratchState.create() else {
            unused.destroy()
            scratch.destroy()
            return nil
        }
        let chunks = Memory.allocate(Chunk?.self, maximumChunks)
        let core = Memory.allocate(Core.self, 1)
        guard let chunks, let core else {
            Memory.free(chunks)
            Memory.free(core)
            unused.destroy()
            scratch.destroy()
            snapshot.destroy()
            return nil
        }
        chunks.initialize(repeating: nil, count: maximumChunks)
        core.initialize(to: Core(chunks: chunks, scratch: scratch, snapshot: snapshot, unused: unused))
        return DescriptorTable(core: core)
    }

    /// Frees everything, also descriptors that words still refer to: the words go with the page map.
    func destroy() {
        var number: UInt32 = 1
        while number <= core.pointee.numbersUsed {
            if let pointer = slot(number).pointee.descriptor {
                Memory.free(pointer.pointee.edges)
                Memory.free(pointer)
            }
            number += 1
        }
        for index in 0..<DescriptorTable.maximumChunks { Memory.free(core.pointee.chunks[index]) }
        Memory.free(core.pointee.chunks)
        core.pointee.scratch.destroy()
        core.pointee.snapshot.destroy()
        core.pointee.unused.destroy()
        core.pointee.wordEdges.destroy()
        Memory.free(core)
    }

    /// The state to be changed, and one to keep what it was.
    var scratch: ScratchState { core.pointee.scratch }
    var snapshot: ScratchState { core.pointee.snapshot }

    /// Makes room in both states for this many clients, before the last of them makes its first request.
    /// false: memory is exhausted.
    func reserve(clients count: Int) -> Bool {
        scratch.reserve(clients: count) && snapshot.reserve(clients: count)
    }

    var statistics: DescriptorStatistics { core.pointee.statistics }

    /// Everything that the table occupies.
    var bytes: Int {
        MemoryLayout<Core>.stride + DescriptorTable.maximumChunks * MemoryLayout<Chunk?>.stride
            + core.pointee.chunkBytes + core.pointee.statistics.descriptorBytes + core.pointee.unused.bytes
            + core.pointee.wordEdges.bytes + scratch.bytes + snapshot.bytes
    }

    // Words.

    /// The word for this state: a direct one where it fits, else one that refers to a descriptor, with a reference
    /// taken for it. nil: memory is exhausted.
    func store(_ state: ScratchState) -> Word? {
        if let word = state.asWord() { return word }
        return intern(state).map { Word(descriptor: $0) }
    }

    func storeWaiting(_ state: ScratchState) -> Word {
        if let word = state.asWord() { return word }
        return Word(descriptor: internWaiting(state))
    }

    /// What the word says, into this state.
    func load(_ word: Word, into state: ScratchState) {
        if word.isDescriptor {
            state.load(descriptor(word.descriptor))
        } else {
            var state = state
            state.load(word)
        }
    }

    // Descriptors.

    /// The number of the descriptor with this content, with a reference taken; made if there is none.
    /// nil: memory is exhausted, or all numbers are in use.
    func intern(_ state: ScratchState) -> UInt32? { intern(state, .fails) }

    func internWaiting(_ state: ScratchState) -> UInt32 {
        guard let number = intern(state, .waits) else {
            preconditionFailure("2^31 descriptors")
        }
        return number
    }

    private func intern(_ state: ScratchState, _ exhaustion: Memory.Exhaustion) -> UInt32? {
        // One state, one word: what fits a word is never interned.
        assert(!state.content.fitsWord)
        assert(state.content.violation() == nil)
        let content = state.encoded
        core.pointee.statistics.lookups += 1
        switch core.pointee.tree.search(content) {
        case .found(let pointer):
            core.pointee.statistics.found += 1
            retain(pointer)
            return pointer.pointee.number
        case .missing(let place):
            guard let number = freeNumber(exhaustion) else { return nil }
            let serial = core.pointee.nextSerial
            guard let pointer = Descriptor.create(content, number: number, serial: serial, exhaustion) else { return nil }
            pointer.pointee.pages = 1
            core.pointee.nextSerial += 1
            take(number, for: pointer)
            core.pointee.tree.insert(pointer, at: place)
            core.pointee.statistics.live += 1
            core.pointee.statistics.descriptorBytes += Descriptor(pointer: pointer).bytes
            return number
        }
    }

    /// One more page is in this condition.
    func retain(_ number: UInt32) { retain(descriptor(number).pointer) }

    @inline(__always)
    func retain(_ pointer: DescriptorPointer) {
        if pointer.pointee.addPage() { noteUsed() }
    }

    /// One page less. The last one frees the descriptor, unless it is kept.
    func release(_ number: UInt32) { release(descriptor(number).pointer) }

    @inline(__always)
    func release(_ pointer: DescriptorPointer) {
        if pointer.pointee.removePage() { noteUnused(pointer) }
    }

    /// Nobody refers to it any more.
    func free(_ pointer: DescriptorPointer) {
        var bytes = Descriptor(pointer: pointer).bytes
        if pointer.pointee.edges != nil { bytes += MemoryLayout<DescriptorEdges>.stride }
        core.pointee.statistics.descriptorBytes -= bytes
        core.pointee.tree.remove(pointer)
        let number = pointer.pointee.number
        let slot = slot(number)
        slot.pointee.nextFree = core.pointee.firstFree
        core.pointee.firstFree = number
        Memory.free(pointer.pointee.edges)
        Memory.free(pointer)
    }

    /// As `release`, for whatever the word is.
    func release(_ word: Word) {
        if word.isDescriptor { release(word.descriptor) }
    }

    /// The number must refer to a live descriptor: a word of the page map does, while the lock is held.
    @inline(__always)
    func descriptor(_ number: UInt32) -> Descriptor {
        guard let pointer = existing(number) else { preconditionFailure("a word refers to no descriptor") }
        assert(pointer.pointee.number == number)
        return Descriptor(pointer: pointer)
    }

    /// nil: the number is free.
    @inline(__always)
    func existing(_ number: UInt32) -> DescriptorPointer? {
        if number == 0 || number > core.pointee.numbersUsed { return nil }
        return slot(number).pointee.descriptor
    }

    /// The descriptor with this number, of which the caller has a reference, or a page while the lock is held. (The reference is enough: the place
    /// of a number that is in use does not change.)
    @inline(__always)
    func referenced(_ number: UInt32) -> Descriptor { Descriptor(pointer: slot(number).pointee.present.unsafelyUnwrapped) }

    /// The descriptor that has this number now; nil: the number is free. It was in use once.
    @inline(__always)
    func present(_ number: UInt32) -> DescriptorPointer? { slot(number).pointee.present }

    // Numbers.

    /// Number n lies in chunk k at place i, where n - 1 + firstChunk = firstChunk * 2^k + i, i less than firstChunk * 2^k.
    @inline(__always)
    private static func position(_ number: UInt32) -> (chunk: Int, index: Int) {
        let place = number &+ (firstChunk - 1)
        let highest = UInt32.bitWidth - 1 - place.leadingZeroBitCount
        return (highest &- firstChunk.trailingZeroBitCount, Int(truncatingIfNeeded: place ^ (1 &<< UInt32(truncatingIfNeeded: highest))))
    }

    /// The chunk must exist.
    @inline(__always)
    private func slot(_ number: UInt32) -> UnsafeMutablePointer<Slot> {
        let (chunk, index) = DescriptorTable.position(number)
        return core.pointee.chunks[chunk].unsafelyUnwrapped + index
    }

    /// A number that is free and has a slot; it stays free until `take`.
    private func freeNumber(_ exhaustion: Memory.Exhaustion) -> UInt32? {
        if core.pointee.firstFree != 0 { return core.pointee.firstFree }
        if core.pointee.numbersUsed == Word.maximumDescriptor { return nil }
        let number = core.pointee.numbersUsed + 1
        let chunk = DescriptorTable.position(number).chunk
        if core.pointee.chunks[chunk] == nil {
            let count = Int(DescriptorTable.firstChunk) << chunk
            guard let slots = Memory.allocate(Slot.self, count, exhaustion) else { return nil }
            slots.initialize(repeating: Slot(), count: count)
            core.pointee.chunks[chunk] = slots
            core.pointee.chunkBytes += count * MemoryLayout<Slot>.stride
        }
        return number
    }

    /// The next in the list of free numbers; 0 at its end.
    func nextFree(_ number: UInt32) -> UInt32 { slot(number).pointee.nextFree }

    private func take(_ number: UInt32, for descriptor: DescriptorPointer) {
        let slot = slot(number)
        assert(slot.pointee.descriptor == nil)
        if core.pointee.firstFree == number {
            core.pointee.firstFree = slot.pointee.nextFree
        } else {
            assert(number == core.pointee.numbersUsed + 1)
            core.pointee.numbersUsed = number
        }
        slot.pointee.descriptor = descriptor
    }
}
