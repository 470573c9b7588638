// The errors that the two-bit error field of the page word can say. Any other code goes to a descriptor.

import CPlatform

/// Error codes of the system that the object is linked for. (On the Hurd they are not small numbers.)
enum Errno {
    static var io: Int32 { platform_EIO }
    static var noSpace: Int32 { platform_ENOSPC }
    static var quota: Int32 { platform_EDQUOT }
    static var noMemory: Int32 { platform_ENOMEM }
    static var invalid: Int32 { platform_EINVAL }
    static var busy: Int32 { platform_EBUSY }
    static var deadlock: Int32 { platform_EDEADLK }
    static var fault: Int32 { platform_EFAULT }
    static var access: Int32 { platform_EACCES }
    static var notSupported: Int32 { platform_EOPNOTSUPP }
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
