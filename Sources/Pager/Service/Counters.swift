// What a pager counts, for pager_get_statistics, and the refusals that it logs, once each.

import CPlatform
import Synchronization

struct Counters: ~Copyable {
    let messages = Atomic<UInt>(0)
    let pageIns = Atomic<UInt>(0)
    let pageOuts = Atomic<UInt>(0)
    let supplies = Atomic<UInt>(0)
    let errors = Atomic<UInt>(0)
    let handOffs = Atomic<UInt>(0)
    let flushes = Atomic<UInt>(0)
    let downgrades = Atomic<UInt>(0)
    let unlocks = Atomic<UInt>(0)
    let evictions = Atomic<UInt>(0)
    let refused = Atomic<UInt>(0)
    let staleUnlocks = Atomic<UInt>(0)
    let skippedWrites = Atomic<UInt>(0)
}

extension Atomic where Value == UInt {
    @inline(__always)
    borrowing func increment(_ amount: UInt = 1) { wrappingAdd(amount, ordering: .relaxed) }
    /// Nobody else counts there.
    @inline(__always)
    borrowing func countAlone() { store(load(ordering: .relaxed) &+ 1, ordering: .relaxed) }
    borrowing func value() -> UInt64 { UInt64(load(ordering: .relaxed)) }
}

/// Why a message, or a callback's answer, was refused.
enum RefusalReason: UInt32 {
    case unlockWithoutPage, returnWithoutPage, dirtyFromReader
    case unknownControl, secondInit, badPageSize, clientGone
    case misaligned, badLength, badRange
    case strayLockCompleted, strayChangeCompleted, straySupplyCompleted
    case copyStrategyCall, badMessage, unknownMessage
    case noBuffer, unalignedBuffer
    case closing, noMemory, sendFailed, clientGivenUp

    var text: StaticString {
        switch self {
        case .unlockWithoutPage: return "refused: unlock at %#lx by client %lu, which does not have the page"
        case .returnWithoutPage: return "refused: return at %#lx by client %lu, which does not have the page"
        case .dirtyFromReader: return "refused: changed page at %#lx from client %lu, which may only read it"
        case .unknownControl: return "refused: message for offset %#lx with unknown control port %#lx"
        case .secondInit: return "refused: second init with control port %#lx (client %lu)"
        case .badPageSize: return "refused: client with page size %lu, ours is %lu"
        case .clientGone: return "refused: message at %#lx from client %lu, which is gone"
        case .misaligned: return "refused: message with misaligned offset %#lx or length %#lx"
        case .badLength: return "refused: message at %#lx with length %#lx"
        case .badRange: return "refused: range at %#lx with length %#lx goes beyond the end of the object"
        case .strayLockCompleted: return "refused: lock_completed at %#lx, length %#lx, for which nothing was asked"
        case .strayChangeCompleted: return "refused: change_completed (%lu, %lu), for which nothing was asked"
        case .straySupplyCompleted: return "refused: supply_completed, for which nothing was asked"
        case .copyStrategyCall: return "refused: memory_object_copy (copy strategy CALL is not served)"
        case .badMessage: return "refused: message %lu with bad contents (%ld)"
        case .unknownMessage: return "refused: message with unknown id %lu"
        case .noBuffer: return "pager_read_page gave no buffer for %#lx"
        case .unalignedBuffer: return "pager_read_page gave an unaligned buffer for %#lx (%#lx)"
        case .closing: return "request at %#lx refused: the object is being shut down"
        case .noMemory: return "request at %#lx refused: memory is exhausted"
        case .sendFailed: return "a message for %#lx could not be sent (error %#lx)"
        case .clientGivenUp: return "client %lu does not answer and is given up"
        }
    }
}

/// Locked.
struct RefusalLog {
    /// One bit a reason: it was logged for this pager.
    private var logged: UInt32 = 0

    /// Whether this is the first of its kind.
    mutating func note(_ reason: RefusalReason) -> Bool {
        let bit = UInt32(1) << reason.rawValue
        if logged & bit != 0 { return false }
        logged |= bit
        return true
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Count it, and log the first of its kind. The lock is not held.
    func refuse(_ reason: RefusalReason, _ a: UInt64 = 0, _ b: UInt64 = 0) {
        pointee.counters.refused.increment()
        pointee.monitor.lock()
        let first = locked.pointee.refusals.note(reason)
        pointee.monitor.unlock()
        if !first { return }
        let text = UnsafeRawPointer(reason.text.utf8Start).assumingMemoryBound(to: CChar.self)
        platform_log(text, UInt(truncatingIfNeeded: a), UInt(truncatingIfNeeded: b))
    }

    func refuse(_ refusal: Refusal, _ page: UInt64, _ client: ClientNumber) {
        switch refusal {
        case .none, .offerNotWanted: break
        case .unlockWithoutPage:
            pointee.counters.staleUnlocks.increment()
            refuse(.unlockWithoutPage, UInt64(offset(page)), UInt64(client))
        case .returnWithoutPage: refuse(.returnWithoutPage, UInt64(offset(page)), UInt64(client))
        case .dirtyFromReader: refuse(.dirtyFromReader, UInt64(offset(page)), UInt64(client))
        }
    }
}
