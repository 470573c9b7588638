// A shared descriptor: the state of all pages that are in the same, wide condition.
//
// Guarantees:
//   - The content never changes while the descriptor lives; it lives as long as a page word refers to it.
//   - One block of memory, exactly as large as the content needs. (Remembered edges have a block of their own.)
//   - The block never moves.

import CPlatform

/// How a descriptor lies in memory: this, the rest (`ContentRest`) if there is one, the access set, the queue, the pending errors
/// (EncodedContent.swift). 56 bytes on 64-bit machines: with 64 clients every page may have a descriptor of its own.
struct DescriptorHeader {
    // The tree that orders the table's descriptors by content.
    var parent: DescriptorPointer?
    var left: DescriptorPointer?
    var right: DescriptorPointer?

    /// Never given to another descriptor of this table: tells this one from a later one of the same number.
    let serial: UInt64
    /// Moves that were made from here, or nil.
    var edges: UnsafeMutablePointer<DescriptorEdges>?
    /// What the page word says, and where the table finds it.
    let number: UInt32
    let units: UInt32
    private var lowPages: UInt32 = 0
    var traits: ContentTraits
    var isRed = true
    /// In the table's list of what may be unused (UnusedDescriptors.swift).
    var isListed = false
    private var highPages: UInt8 = 0

    init(serial: UInt64, number: UInt32, units: UInt32, traits: ContentTraits) {
        self.serial = serial
        self.number = number
        self.units = units
        self.traits = traits
    }

    /// One page more. true: it is the first.
    @inline(__always)
    mutating func addPage() -> Bool {
        lowPages &+= 1
        if lowPages > 1 { return false }
        if lowPages == 0 { highPages &+= 1 }
        return lowPages == 1 && highPages == 0
    }

    /// One page less. true: it was the last.
    @inline(__always)
    mutating func removePage() -> Bool {
        if lowPages == 0 {
            precondition(highPages > 0)
            highPages &-= 1
        }
        lowPages &-= 1
        return lowPages == 0 && highPages == 0
    }

    /// Page words (and whoever is about to store one) that refer to it: 40 bits, of which even the largest map cannot have more.
    var pages: UInt64 {
        get { widen(lowPages) | widen(UInt32(truncatingIfNeeded: highPages)) &<< 32 }
        set {
            lowPages = UInt32(truncatingIfNeeded: newValue)
            highPages = UInt8(truncatingIfNeeded: newValue &>> 32)
        }
    }
}

typealias DescriptorPointer = UnsafeMutablePointer<DescriptorHeader>

/// Read access to a descriptor.
struct Descriptor {
    let pointer: DescriptorPointer

    private static func bytes(_ traits: ContentTraits, _ units: UInt32, _ rest: ContentRest) -> Int {
        MemoryLayout<DescriptorHeader>.stride + (traits.hasRest ? MemoryLayout<ContentRest>.stride : 0)
            + EncodedContent.accessBytes(units, isDense: traits.isDense)
            + Int(rest.queueCount) * MemoryLayout<PackedEntry>.stride + Int(rest.pendingCount) * MemoryLayout<PendingError>.stride
    }

    /// A copy of the content, counted for no page and not yet in the tree.
    static func create(_ content: EncodedContent, number: UInt32, serial: UInt64,
                       _ exhaustion: Memory.Exhaustion) -> DescriptorPointer? {
        guard let block = Memory.allocateBytes(bytes(content.traits, content.units, content.rest), exhaustion) else { return nil }
        let pointer = block.bindMemory(to: DescriptorHeader.self, capacity: 1)
        pointer.initialize(to: DescriptorHeader(serial: serial, number: number, units: content.units, traits: content.traits))
        var place = UnsafeMutableRawPointer(pointer + 1)
        if content.traits.hasRest {
            place.storeBytes(of: content.rest, as: ContentRest.self)
            place += MemoryLayout<ContentRest>.stride
        }
        if content.traits.isDense {
            place.copyMemory(from: content.access, byteCount: Int(content.units) * 8)
        } else {
            place.copyMemory(from: content.access, byteCount: Int(content.units) * MemoryLayout<PackedEntry>.stride)
        }
        place += EncodedContent.accessBytes(content.units, isDense: content.traits.isDense)
        if content.traits.hasRest {
            let queueBytes = content.queueCount * MemoryLayout<PackedEntry>.stride
            place.copyMemory(from: content.queueEntries, byteCount: queueBytes)
            (place + queueBytes).copyMemory(from: content.pendingErrors, byteCount: content.pendingCount * MemoryLayout<PendingError>.stride)
        }
        return pointer
    }

    /// Without the remembered edges.
    var bytes: Int { Descriptor.bytes(pointer.pointee.traits, pointer.pointee.units, content.rest) }

    @inline(__always)
    var content: EncodedContent {
        let traits = pointer.pointee.traits, units = pointer.pointee.units
        var place = UnsafeRawPointer(pointer + 1)
        var rest = ContentRest()
        if traits.hasRest {
            rest = place.load(as: ContentRest.self)
            place += MemoryLayout<ContentRest>.stride
        }
        let queue = (place + EncodedContent.accessBytes(units, isDense: traits.isDense)).assumingMemoryBound(to: PackedEntry.self)
        return EncodedContent(traits: traits, units: units, rest: rest, access: place, queueEntries: queue,
                              pendingErrors: UnsafeRawPointer(queue + Int(rest.queueCount)).assumingMemoryBound(to: PendingError.self))
    }

    var number: UInt32 { pointer.pointee.number }
    var pages: UInt64 { pointer.pointee.pages }
}

extension ScratchState {
    func load(_ descriptor: Descriptor) { load(descriptor.content) }
}
