/* A PKCS#11 module that is SoftHSM but for what it is told to do otherwise: for
 * tests of making keys only.
 *
 * It has mechanisms that SoftHSM 2.6 lacks, made of those that it has, and fails
 * and lies where no real token does. What it does stands in a file of 32-bit
 * words, mapped by the module and by the test; the file's path is the module's
 * init-args. The words have the same order in makefault_test.go. REAL is the path
 * of SoftHSM. */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CK_PTR *
#define NULL_PTR 0
#define CK_DEFINE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType (*name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType (*name)
#include "pkcs11.h"

enum word {
	HAS_RSA_AES,   /* CKM_RSA_AES_KEY_WRAP */
	HAS_KWP,       /* CKM_AES_KEY_WRAP_KWP */
	NO_UNWRAP,     /* no mechanism unwraps */
	REFUSE_UNWRAP, /* they are listed, and C_UnwrapKey answers this */
	FAIL_PRIVATE,  /* C_CreateObject of a private key answers this */
	FAIL_DESTROY,  /* C_DestroyObject answers this */
	OTHER_PUBLIC,  /* a public key is written with another point */
	LEAKY,         /* every private key is extractable */
	HANG_GENERATE, /* C_GenerateKeyPair does not return while it stands */
	UNWRAPPED,     /* counted: C_UnwrapKey that succeeded */
	SEEN,          /* counted: private keys that came in CKA_VALUE */
	WORDS = 64
};

enum { KWP = 0x210B, MOST = 64 };

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST_PTR real;
static uint32_t none[WORDS];
static uint32_t *words = none;

static uint32_t get(int word) { return __atomic_load_n(&words[word], __ATOMIC_SEQ_CST); }
static void count(int word) { __atomic_add_fetch(&words[word], 1, __ATOMIC_SEQ_CST); }

/* The base point of P-256, in a DER OCTET STRING. */
static CK_BYTE other_point[67] = {
	0x04, 0x41, 0x04,
	0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
	0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
	0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
	0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

static CK_BBOOL yes = CK_TRUE;

static CK_OBJECT_CLASS class_of(CK_ATTRIBUTE_PTR t, CK_ULONG n)
{
	for (CK_ULONG i = 0; i < n; i++)
		if (t[i].type == CKA_CLASS)
			return *(CK_OBJECT_CLASS *)t[i].pValue;
	return (CK_OBJECT_CLASS)-1;
}

/* spoil copies a template, with the lies that are asked for. */
static void spoil(CK_ATTRIBUTE *out, CK_ATTRIBUTE_PTR t, CK_ULONG n)
{
	memcpy(out, t, n * sizeof *t);
	for (CK_ULONG i = 0; i < n; i++) {
		if (out[i].type == CKA_EXTRACTABLE && get(LEAKY))
			out[i].pValue = &yes;
		if (out[i].type == CKA_EC_POINT && get(OTHER_PUBLIC))
			out[i].pValue = other_point;
	}
}

static CK_RV initialize(CK_VOID_PTR args)
{
	CK_C_INITIALIZE_ARGS_PTR a = args;
	if (a != NULL && a->pReserved != NULL) {
		int fd = open(a->pReserved, O_RDWR);
		void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd >= 0)
			close(fd);
		if (map == MAP_FAILED)
			return CKR_ARGUMENTS_BAD;
		words = map;
		a->pReserved = NULL;
	}
	return real->C_Initialize(args);
}

static CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR out, CK_ULONG_PTR n)
{
	CK_MECHANISM_TYPE all[256];
	CK_ULONG many = 254;
	CK_RV rv = real->C_GetMechanismList(slot, all, &many);
	if (rv != CKR_OK)
		return rv;
	if (get(HAS_RSA_AES))
		all[many++] = CKM_RSA_AES_KEY_WRAP;
	if (get(HAS_KWP))
		all[many++] = KWP;
	if (out != NULL) {
		if (*n < many)
			return CKR_BUFFER_TOO_SMALL;
		memcpy(out, all, many * sizeof *all);
	}
	*n = many;
	return CKR_OK;
}

static CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
	CK_RV rv = CKR_OK;
	if (type == CKM_RSA_AES_KEY_WRAP || type == KWP) {
		memset(info, 0, sizeof *info);
		info->flags = CKF_WRAP | CKF_UNWRAP;
	} else {
		rv = real->C_GetMechanismInfo(slot, type, info);
	}
	if (get(NO_UNWRAP))
		info->flags &= ~(CK_FLAGS)CKF_UNWRAP;
	return rv;
}

static CK_RV unwrap(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE key, CK_BYTE_PTR in, CK_ULONG len,
		    CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR out)
{
	CK_MECHANISM pad = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
	CK_ATTRIBUTE spoiled[MOST];
	CK_RV rv;

	if (get(REFUSE_UNWRAP))
		return get(REFUSE_UNWRAP);
	spoil(spoiled, t, n);
	if (m->mechanism == CKM_RSA_AES_KEY_WRAP) {
		/* The AES key under the RSA key comes first, as long as the modulus. */
		CK_RSA_AES_KEY_WRAP_PARAMS *p = m->pParameter;
		CK_MECHANISM oaep = { CKM_RSA_PKCS_OAEP, p->pOAEPParams, sizeof(CK_RSA_PKCS_OAEP_PARAMS) };
		CK_ULONG rsa = 256;
		CK_OBJECT_CLASS class = CKO_SECRET_KEY;
		CK_KEY_TYPE type = CKK_AES;
		CK_BBOOL no = CK_FALSE;
		CK_ATTRIBUTE aes[] = {
			{ CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type },
			{ CKA_TOKEN, &no, sizeof no }, { CKA_UNWRAP, &yes, sizeof yes },
		};
		CK_OBJECT_HANDLE handle;
		if (m->ulParameterLen != sizeof *p || p->ulAESKeyBits != 256 || len <= rsa)
			return CKR_MECHANISM_PARAM_INVALID;
		rv = real->C_UnwrapKey(s, &oaep, key, in, rsa, aes, 4, &handle);
		if (rv == CKR_OK)
			rv = real->C_UnwrapKey(s, &pad, handle, in + rsa, len - rsa, spoiled, n, out);
	} else if (m->mechanism == KWP) {
		rv = real->C_UnwrapKey(s, &pad, key, in, len, spoiled, n, out);
	} else {
		rv = real->C_UnwrapKey(s, m, key, in, len, spoiled, n, out);
	}
	if (rv == CKR_OK)
		count(UNWRAPPED);
	return rv;
}

static CK_RV create(CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR out)
{
	CK_ATTRIBUTE spoiled[MOST];
	if (class_of(t, n) == CKO_PRIVATE_KEY) {
		count(SEEN);
		if (get(FAIL_PRIVATE))
			return get(FAIL_PRIVATE);
	}
	spoil(spoiled, t, n);
	return real->C_CreateObject(s, spoiled, n, out);
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o)
{
	return get(FAIL_DESTROY) ? get(FAIL_DESTROY) : real->C_DestroyObject(s, o);
}

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR pub, CK_ULONG npub, CK_ATTRIBUTE_PTR priv,
		      CK_ULONG npriv, CK_OBJECT_HANDLE_PTR hpub, CK_OBJECT_HANDLE_PTR hpriv)
{
	CK_ATTRIBUTE spoiled[MOST];
	while (get(HANG_GENERATE))
		usleep(1000);
	spoil(spoiled, priv, npriv);
	return real->C_GenerateKeyPair(s, m, pub, npub, spoiled, npriv, hpub, hpriv);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out)
{
	void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList of_real = NULL;
	if (library != NULL)
		*(void **)&of_real = dlsym(library, "C_GetFunctionList");
	if (of_real == NULL || of_real(&real) != CKR_OK)
		return CKR_GENERAL_ERROR;
	list = *real;
	list.C_Initialize = initialize;
	list.C_GetMechanismList = get_mechanism_list;
	list.C_GetMechanismInfo = get_mechanism_info;
	list.C_UnwrapKey = unwrap;
	list.C_CreateObject = create;
	list.C_DestroyObject = destroy;
	list.C_GenerateKeyPair = generate;
	*out = &list;
	return CKR_OK;
}
