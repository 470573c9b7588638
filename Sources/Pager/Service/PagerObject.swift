// One memory object: what the library knows of it, and how it begins and ends.
//
// A `struct pager` of the C interface is a port of libports; behind its `struct port_info`, of which only C knows the size, lies this `PagerObject`, and behind
// that the translator's data of `pager_create_alloc`.
//
// Who may touch what:
//   - `turn`: the messages of the object are taken in one at a time, in the order of their sequence numbers (Turn.swift).
//   - page words: anybody, by compare-and-swap (Transition.swift). A word that refers to a descriptor, or whose page is
//     held by the write-back, changes only under the lock.
//   - `executor`: whoever has it may call the translator (Executor.swift).
//   - `locked`: under `monitor`. The lock is never held while the translator is called or
//     a message is sent.

import CPlatform
import Synchronization

struct PagerObject: ~Copyable {
    /// The port; also the `struct pager *` of the C interface.
    let port: UnsafeMutableRawPointer
    /// false (libports gave zeroed memory): the port went before the pager was made, or the pager was never handed out.
    var isInitialized = true
    let user: OpaquePointer?
    /// Evictions are reported.
    let notify: Bool
    let pageShift: UInt64
    let pageBytes: UInt64
    /// The client that is alone and whose messages may take the short way (QuickMoves.swift); 0: there is none.
    let quickClient = Atomic<UInt>(0)
    let moves = WordMoves.shared

    let monitor: Monitor
    let map: PageMap
    /// Stands in for the word of a page that nobody asked for: what clients say of such a page is refused, and must not
    /// make the map grow.
    let strayWord: WordPointer

    /// The sequence number of the message whose turn it is.
    let turn = Atomic<UInt32>(0)
    let turnWaiters = Atomic<UInt32>(0)

    let executor = Atomic<UInt32>(0)
    /// Of the message that has it for itself alone.
    let lone = Lone()
    /// How many reads may run at once.
    let concurrentReads = Atomic<UInt32>(1)
    /// `Seats`, where that is more than one; 0: none.
    let seats = Atomic<UInt>(0)
    /// Somebody waits on `monitor` for the end of a direct write.
    let writeWaiters = Atomic<UInt32>(0)
    /// Direct writes begun and ended (the executor lets one run at a time), and the pages of the one that runs.
    let directWritesBegun = Atomic<UInt32>(0)
    let directWritesEnded = Atomic<UInt32>(0)
    let directFirst = Atomic<UInt64>(0)
    let directLast = Atomic<UInt64>(0)

    /// The translator's pager_write_pages said that it does not exist.
    let writesSingly = Atomic<UInt32>(0)
    /// The same of pager_read_pages.
    let readsSingly = Atomic<UInt32>(0)

    /// pager_offer_page was called once (Offers.swift).
    let isOffered = Atomic<UInt32>(0)

    /// Messages that are taken in and whose requests no page tells of: they are being refused, or are for several pages.
    let answering = Atomic<UInt32>(0)

    /// No new requests: `pager_shutdown` has begun.
    let closing = Atomic<UInt32>(0)
    let shutdownPatience = Atomic<UInt32>(10_000)

    /// User lock requests that flush and are not yet swept (Ledger.swift).
    let rangeFlushes = Atomic<UInt32>(0)
    /// Answers that are being sent, by the phase in which they began (Answering.swift).
    let answerPhase = Atomic<UInt32>(0)
    let evenAnswers = Atomic<UInt32>(0)
    let oddAnswers = Atomic<UInt32>(0)

    /// Each has a rule of its own; both change under the lock.
    let descriptors: DescriptorTable
    let clients: ClientTable

    let locked: UnsafeMutablePointer<LockedState>
    let listing: UnsafeMutablePointer<WorkList.Entry>
    let counters = Counters()
}

/// What is only looked at and changed under the pager's lock. In a block of its own, so that a change of it is no access to
/// what others read at the same time.
struct LockedState {
    var mayCache: boolean_t
    var copyStrategy: memory_object_copy_strategy_t
    var turnQueue = TurnQueue()
    var jobs = JobQueue()
    var aside = AsideList()
    var versions = VersionIndex()
    /// Versions without a reference, until the lock is let go.
    var garbage: JobPointer?
    /// A record for the next version: most pages that come back need one for a moment.
    var spareVersion: JobPointer?
    var ledger = Ledger()
    /// Clients of which a reference was taken for the message that has the executor for itself alone (Lone.swift), a bit each.
    var lent: UInt8 = 0
    /// Somebody changes `answerPhase`.
    var isChangingPhase = false
    var attributeChange = AttributeChange()
    var leaving = Leaving()
    var offers = OfferState()
    var refusals = RefusalLog()
}

typealias PagerPointer = UnsafeMutablePointer<PagerObject>

extension PagerObject {
    /// Where the `PagerObject` lies behind the port, in bytes.
    static var offset: Int { pager_port_head_bytes }
    /// Where the translator's data of pager_create_alloc lies.
    static var userOffset: Int { (offset + MemoryLayout<PagerObject>.size + 15) & ~15 }

    @inline(__always)
    static func of(_ handle: OpaquePointer) -> PagerPointer {
        (UnsafeMutableRawPointer(handle) + offset).assumingMemoryBound(to: PagerObject.self)
    }

    static func of(port: UnsafeMutableRawPointer) -> PagerPointer {
        (port + offset).assumingMemoryBound(to: PagerObject.self)
    }

    /// Everything that a pager needs besides its port; nil: memory is exhausted.
    struct Parts {
        let monitor: Monitor
        let map: PageMap
        let strayWord: WordPointer
        let descriptors: DescriptorTable
        let clients: ClientTable
        let locked: UnsafeMutablePointer<LockedState>
        let listing: UnsafeMutablePointer<WorkList.Entry>

        static func create() -> Parts? {
            let monitor = Monitor.create(), map = PageMap.create(), descriptors = DescriptorTable.create(keeping: 96)
            let clients = ClientTable.create(), strayWord = Memory.allocate(Atomic<UInt32>.self, 1)
            let locked = Memory.allocate(LockedState.self, 1), listing = Memory.allocate(WorkList.Entry.self, 1)
            if let monitor, let map, let descriptors, let clients, let strayWord, let locked, let listing {
                listing.initialize(to: WorkList.Entry())
                strayWord.initialize(to: Atomic<UInt32>(Word.resting.raw))
                return Parts(monitor: monitor, map: map, strayWord: strayWord, descriptors: descriptors,
                             clients: clients, locked: locked, listing: listing)
            }
            Memory.free(locked)
            Memory.free(listing)
            monitor?.destroy()
            map?.destroy()
            descriptors?.destroy()
            clients?.destroy()
            Memory.free(strayWord)
            return nil
        }

        func destroy() {
            clients.destroy()
            descriptors.destroy()
            map.destroy()
            monitor.destroy()
            Memory.free(strayWord)
            Memory.free(locked)
            Memory.free(listing)
        }
    }

    /// Makes a pager in this memory, which belongs to the new port.
    static func initialize(_ port: UnsafeMutableRawPointer, _ parts: Parts, user: OpaquePointer?, mayCache: boolean_t,
                           copyStrategy: memory_object_copy_strategy_t, notify: Bool) {
        parts.locked.initialize(to: LockedState(mayCache: mayCache, copyStrategy: copyStrategy))
        of(port: port).initialize(to: PagerObject(
            port: port, user: user, notify: notify, pageShift: widen(vm_page_size.trailingZeroBitCount),
            pageBytes: widen(vm_page_size),
            monitor: parts.monitor, map: parts.map, strayWord: parts.strayWord, descriptors: parts.descriptors,
            clients: parts.clients, locked: parts.locked, listing: parts.listing))
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    @inline(__always)
    var pageSize: UInt64 { pointee.pageBytes }

    /// Only under the lock.
    @inline(__always)
    var locked: UnsafeMutablePointer<LockedState> { pointee.locked }

    /// The name of the receive right.
    var portName: mach_port_t { pager_port_of(pointee.port) }

    @inline(__always)
    func page(_ offset: vm_offset_t) -> UInt64 { widen(offset) &>> pointee.pageShift }

    @inline(__always)
    func offset(_ page: UInt64) -> vm_offset_t { vm_offset_t(truncatingIfNeeded: page &<< pointee.pageShift) }

    /// Frees everything. No reference is left, so nobody else is here.
    func finalize() {
        pointee.clients.releaseAllRights()
        locked.pointee.ledger.destroy()
        locked.pointee.versions.destroy()
        Memory.free(locked.pointee.spareVersion)
        seats?.destroy()
        let parts = PagerObject.Parts(monitor: pointee.monitor, map: pointee.map, strayWord: pointee.strayWord,
                                descriptors: pointee.descriptors, clients: pointee.clients, locked: locked,
                                listing: pointee.listing)
        deinitialize(count: 1)
        parts.destroy()
    }
}
