import { checkFunction, invalidArgument } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import { EndpointDescription } from './description.ts';

/** Makes the endpoint of a description whose type it is, with what the code says beside that. */
export type EndpointMaker<Endpoint, Options> = (
  description: EndpointDescription,
  options: Options,
) => Endpoint;

/** The types of endpoints of one side, by the name that a description begins with. */
export class EndpointTypes<Endpoint, Options> {
  readonly #makers: Map<string, EndpointMaker<Endpoint, Options>>;

  constructor(builtIn: Readonly<Record<string, EndpointMaker<Endpoint, Options>>>) {
    this.#makers = new Map(Object.entries(builtIn));
  }

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; `ERR_IOLOOP_INVALID_STATE`: there is one of that name. */
  register(type: string, make: EndpointMaker<Endpoint, Options>): void {
    if (typeof type !== 'string' || !/^[a-z][a-z0-9.+-]*$/.test(type))
      throw invalidArgument('type', 'a word of lower case', type);
    checkFunction(make, 'make');
    if (this.#makers.has(type))
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `there are endpoints of type '${type}' already`);
    this.#makers.set(type, make);
  }

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`, and what the type's maker throws. */
  make(text: string, options: Options): Endpoint {
    const description = new EndpointDescription(text);
    const make = this.#makers.get(description.type);
    if (make !== undefined) return make(description, options);
    const known = [...this.#makers.keys()].map((type) => `'${type}'`).join(', ');
    throw description.invalid('type', `one of ${known}`, description.type);
  }
}
