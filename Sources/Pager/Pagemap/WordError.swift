// The errors that the two-bit error field of the page word can say. Any other code goes to a descriptor.

import CPlatform

/// Error codes of this system. (On the Hurd they are not small numbers.)
enum Errno {
    static var io: Int32 { Int32(truncatingIfNeeded: platform_EIO) }
    static var noSpace: Int32 { Int32(truncatingIfNeeded: platform_ENOSPC) }
    static var quota: Int32 { Int32(truncatingIfNeeded: platform_EDQUOT) }
    static var noMemory: Int32 { Int32(truncatingIfNeeded: platform_ENOMEM) }
    static var invalid: Int32 { Int32(truncatingIfNeeded: platform_EINVAL) }
    static var busy: Int32 { Int32(truncatingIfNeeded: platform_EBUSY) }
    static var deadlock: Int32 { Int32(truncatingIfNeeded: platform_EDEADLK) }
    static var fault: Int32 { Int32(truncatingIfNeeded: platform_EFAULT) }
    static var access: Int32 { Int32(truncatingIfNeeded: platform_EACCES) }
    static var notSupported: Int32 { Int32(truncatingIfNeeded: platform_EOPNOTSUPP) }
}

enum WordError {
    static func field(_ code: Int32) -> UInt32? {
        switch code {
        case 0: return 0
        case Errno.io: return 1
        case Errno.noSpace: return 2
        case Errno.quota: return 3
        default: return nil
        }
    }

    static func code(_ field: UInt32) -> Int32 {
        switch field {
        case 1: return Errno.io
        case 2: return Errno.noSpace
        case 3: return Errno.quota
        default: return 0
        }
    }
}
